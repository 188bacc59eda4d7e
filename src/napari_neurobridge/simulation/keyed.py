"""Random numbers that are a function of a key and an index.

A stateful generator gives numbers in the order in which they are asked for. Here the number
with a given name is always the same, so that one neuron, one slab of voxels or one frame can
be made alone, in any batch and on any device, and comes out as it does in the whole scene.
The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

_WORD = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)
_QUANTILES = 1 << 16


def _signed(word: int) -> int:
    """Return the int64 with the bits of an unsigned word."""
    word %= _WORD
    return word - _WORD if word >= _WORD // 2 else word


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift right, filling with zeros as for unsigned words."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)


def _mix_(bits: Tensor) -> Tensor:
    """Turn each word into one without resemblance to it, in place."""
    bits.bitwise_xor_(_shifted(bits, _SHIFTS[0])).mul_(_signed(_MULTIPLIERS[0]))
    bits.bitwise_xor_(_shifted(bits, _SHIFTS[1])).mul_(_signed(_MULTIPLIERS[1]))
    return bits.bitwise_xor_(_shifted(bits, _SHIFTS[2]))


def _mix_word(word: int) -> int:
    """`_mix_` for one Python integer."""
    word %= _WORD
    word = (word ^ (word >> _SHIFTS[0])) * _MULTIPLIERS[0] % _WORD
    word = (word ^ (word >> _SHIFTS[1])) * _MULTIPLIERS[1] % _WORD
    return word ^ (word >> _SHIFTS[2])


@cache
def _normal_quantiles(device: torch.device) -> Tensor:
    """Return the normal quantiles that 16 bits choose from: the same on every device."""
    middle = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    values = ndtri(middle)
    return torch.from_numpy((values / values.std()).astype(np.float32)).to(device)


@dataclass(frozen=True)
class Key:
    """Names one purpose of randomness.

    Attributes
    ----------
    word : int
        64 bits.
    """

    word: int

    @classmethod
    def of(cls, *seeds: int) -> Key:
        """Return the key of one or several seeds."""
        word = 0
        for seed in seeds:
            word = _mix_word(word + _GOLDEN * (seed + 1))
        return cls(word)

    def child(self, name: str | int) -> Key:
        """Return an independent key for a named purpose."""
        number = zlib.crc32(name.encode()) + (1 << 33) if isinstance(name, str) else name
        return Key(_mix_word(self.word ^ _mix_word(_GOLDEN * (number + 1))))

    def rng(self) -> np.random.Generator:
        """Return an ordinary generator, for small tables that are always made whole."""
        return np.random.default_rng(self.word)

    def bits(self, index: Tensor) -> Tensor:
        """Return 64 random bits, int64, for each index (int64, any shape)."""
        return _mix_((index * _signed(_GOLDEN)).add_(_signed(self.word)))

    def uniform(self, index: Tensor, count: int | None = None) -> Tensor:
        """Return numbers in [0, 1), float32.

        Parameters
        ----------
        index : Tensor of int64, shape (...)
            What the numbers belong to.
        count : int, optional
            How many for each index; adds a last axis of this length.
        """
        if count is None:
            return _shifted(self.bits(index), 40).float().mul_(2.0**-24)
        return self.uniform(_counted(index, count))

    def normal(self, index: Tensor, count: int | None = None) -> Tensor:
        """Return standard normal numbers, float32; parameters as for `uniform`.

        Numbers have 65,536 possible values, up to 4.2 standard deviations.
        """
        if count is None:
            which = _shifted(self.bits(index), 48).int()
            return self._quantiles_at(which, index.device).view(index.shape)
        words = math.ceil(count / 4)
        bits = self.bits(_counted(index, words))
        which = bits.reshape(-1).view(torch.int16).int().add_(_QUANTILES // 2)
        numbers = self._quantiles_at(which, index.device)
        return numbers.view(*index.shape, 4 * words)[..., :count]

    @staticmethod
    def _quantiles_at(which: Tensor, device: torch.device) -> Tensor:
        return torch.index_select(_normal_quantiles(device), 0, which.reshape(-1))


def _counted(index: Tensor, count: int) -> Tensor:
    """Return distinct indices (..., count) for each index."""
    return index[..., None] * count + torch.arange(count, device=index.device)
