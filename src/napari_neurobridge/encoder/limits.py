"""What a configuration may ask for, so that a file from elsewhere can do no harm.

A configuration is data: it may size a network within reason, and nothing else. Options reach
:func:`timm.create_model` only by a name that is listed here, since others load files
(``checkpoint_path``) or fetch them (``pretrained_cfg``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import BaseModel, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

TimmOption: TypeAlias = int | float | bool | str

_MOST_STAGES = 12
StageWidths: TypeAlias = Annotated[
    tuple[Annotated[int, Field(gt=0, le=2048)], ...], Field(max_length=_MOST_STAGES)
]
StageStrides: TypeAlias = Annotated[
    tuple[Annotated[int, Field(gt=0, le=16)], ...], Field(max_length=_MOST_STAGES)
]
StageBlocks: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=0, le=32)], ...], Field(max_length=_MOST_STAGES)
]

_Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]

_MOST_TRANSFORMER_WEIGHTS = 2_000_000_000


class _TimmOptions(BaseModel, extra="forbid", strict=True, allow_inf_nan=False):
    """The options of timm that a configuration may set, each with its type and range."""

    patch_size: int = Field(16, gt=0, le=64)
    embed_dim: int = Field(192, gt=0, le=4096)
    depth: int = Field(12, gt=0, le=64)
    num_heads: int = Field(3, gt=0, le=64)
    mlp_ratio: float = Field(4.0, gt=0, le=16)
    class_token: bool = True
    global_pool: str = Field("", pattern="^(avg|token|map|max|avgmax|fast|)$")
    qkv_bias: bool = True
    qk_norm: bool = False
    init_values: float = Field(1e-5, ge=0, le=1)
    reg_tokens: int = Field(0, ge=0, le=64)
    no_embed_class: bool = False
    pre_norm: bool = False
    final_norm: bool = True
    drop_rate: _Share = 0.0
    drop_path_rate: _Share = 0.0
    proj_drop_rate: _Share = 0.0
    attn_drop_rate: _Share = 0.0
    output_stride: int = Field(32, ge=4, le=32)


def check_timm_options(options: dict[str, TimmOption]) -> dict[str, TimmOption]:
    """Return options as they are; raises `ValueError` for one that is not allowed."""
    try:
        chosen = _TimmOptions.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]}: {first['msg']}") from error
    # Of a block of a transformer: attention, and two layers as wide as the ratio says.
    weights = chosen.depth * chosen.embed_dim**2 * (4 + 2 * chosen.mlp_ratio)
    if weights > _MOST_TRANSFORMER_WEIGHTS:
        raise ValueError(f"a transformer of {weights:.1e} weights is too large")
    return options


def check_stages(widths: Sequence[int], strides: Sequence[int], blocks: Sequence[int]) -> None:
    """Raise `ValueError` unless each stage of a pyramid has a width, a stride and blocks."""
    if not len(widths) == len(strides) == len(blocks):
        raise ValueError("stages need as many strides and numbers of blocks as widths")
