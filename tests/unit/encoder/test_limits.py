import pytest
from pydantic import ValidationError

from napari_neurobridge.encoder.dual_channel import EncoderConfig, paper_config
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.limits import check_timm_options
from napari_neurobridge.encoder.local_channel import LocalConfig


@pytest.mark.parametrize(
    "option",
    ["checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir",
     "scriptable", "features_only", "img_size", "in_chans", "num_classes"],
)  # fmt: skip
def test_options_that_size_nothing_never_reach_timm(option):
    with pytest.raises(ValueError, match=f"{option}: Extra inputs"):
        check_timm_options({option: "x"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 0}, "depth: "),
        ({"depth": 10**9}, "depth: "),
        ({"num_heads": 3.5}, "num_heads: "),
        ({"class_token": "yes"}, "class_token: "),
        ({"mlp_ratio": float("nan")}, "mlp_ratio: "),
        ({"drop_rate": 1.0}, "drop_rate: "),
        ({"global_pool": "__import__"}, "global_pool: "),
        ({"depth": 64, "embed_dim": 4096}, "too large"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        check_timm_options(options)


def test_what_we_build_is_within_the_limits():
    assert EncoderConfig().global_channel.vit_options["depth"] == 3
    assert paper_config().global_channel.vit_options == {"patch_size": 16}


@pytest.mark.parametrize(
    "config",
    [
        {"dim": 10**9},
        {"crop_pixels": 10**6},
        {"local_channel": {"widths": [10**6, 64, 96]}},
        {"local_channel": {"widths": [8] * 20, "strides": [2] * 20, "blocks": [1] * 20}},
        {"local_channel": {"widths": [8], "strides": [2, 2], "blocks": [1]}},
        {"local_channel": {"blocks": [0, 1, 10**6]}},
        {"global_channel": {"stem_strides": [4]}},
        {"global_channel": {"image_size": 10**6}},
        {"global_channel": {"vit": "local-dir:/tmp/x"}},
        {"global_channel": {"vit": "../x"}},
        {"dim": 8192, "views": 1, "local_channel": {"window": 150, "readout": 1024}},
    ],
)
def test_a_configuration_cannot_ask_for_more_than_a_machine_has(config):
    with pytest.raises(ValidationError):
        EncoderConfig.model_validate(config)


def test_no_stem_and_one_stage_are_fine():
    GlobalConfig(stem_widths=(), stem_strides=(), stem_blocks=())
    LocalConfig(widths=(8,), strides=(2,), blocks=(0,))
