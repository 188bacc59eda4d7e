import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import Cancelled, InputError

BUNDLED = Path(__file__).parents[3] / "models" / "compact"


def small_model():
    torch.manual_seed(0)
    options = {"patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2}
    return DualChannelEncoder(
        EncoderConfig(
            name="small",
            crop_pixels=32,
            dim=24,
            local_channel=LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(1,)),
            global_channel=GlobalConfig(
                stem_widths=(8,), stem_strides=(4,), stem_blocks=(1,), vit_options=options
            ),
        )
    )


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path):
    save_model(small_model(), tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture
def crops():
    return np.random.default_rng(0).random((7, 32, 32), dtype=np.float32)


def test_round_trip_keeps_the_embedding(folder, crops):
    direct = Encoder(small_model(), "").embed(crops, precision="float32")
    loaded = Encoder.load(folder)
    vectors = loaded.embed(crops, precision="float32")
    assert vectors.dtype == np.float32
    assert (vectors * direct).sum(axis=1).min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert loaded.name == "small"
    assert loaded.dim == 24


def test_hash_is_that_of_the_weights_file(folder):
    expected = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()[:12]
    assert Encoder.load(folder).hash == expected


def test_a_vector_does_not_depend_on_its_company(folder, crops):
    encoder = Encoder.load(folder)
    together = encoder.embed(crops, precision="float32")
    apart = encoder.embed(crops, batch_size=2, precision="float32")
    alone = encoder.embed(crops[3:4], precision="float32")
    np.testing.assert_allclose(apart, together, atol=1e-5)
    np.testing.assert_allclose(alone[0], together[3], atol=1e-5)
    np.testing.assert_array_equal(encoder.embed(crops, precision="float32"), together)


def test_half_precision_stays_close(folder, crops):
    encoder = Encoder.load(folder)
    exact = encoder.embed(crops, precision="float32")
    rounded = encoder.embed(crops, precision="bfloat16")
    assert (exact * rounded).sum(axis=1).min() > 0.995


def test_no_crops_give_no_vectors(folder):
    assert Encoder.load(folder).embed(np.empty((0, 32, 32), np.float32)).shape == (0, 24)


def test_trunk_features_have_the_width_of_both_trunks(folder, crops):
    assert Encoder.load(folder).trunk_features(crops).shape == (7, 8 + 16)


def test_report_counts_crops_and_can_cancel(folder, crops):
    encoder = Encoder.load(folder)
    seen = []
    encoder.embed(crops, batch_size=3, report=lambda *state: seen.append(state[:2]))
    assert seen == [(3, 7), (6, 7), (7, 7)]

    def cancel(*_):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        encoder.embed(crops, report=cancel)


def test_wrong_crop_size_says_both_sizes(folder):
    with pytest.raises(InputError, match=r"32 x 32 pixels, not an array of shape \(2, 30, 32\)"):
        Encoder.load(folder).embed(np.zeros((2, 30, 32), np.float32))


def unchecked(folder):
    """Make a folder one from before there were checksums."""
    (folder / "SHA256SUMS").unlink()
    return folder


def test_damaged_folders_give_one_sentence(folder):
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged or was changed"):
        Encoder.load(folder)
    unchecked(folder)
    with pytest.raises(InputError, match=r"weights\.safetensors are damaged"):
        Encoder.load(folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"lacks weights\.safetensors"):
        Encoder.load(folder)
    weights.write_bytes(whole)
    config = folder / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("dim = 24", "dim = 28", 1))
    with pytest.raises(InputError, match="do not fit"):
        Encoder.load(folder)
    config.write_text(text.replace("[local_channel]", "[local_channel]\nwindows = 3"))
    with pytest.raises(InputError, match=r"damaged: local_channel.windows: Extra inputs"):
        Encoder.load(folder)


def test_a_flipped_byte_of_the_weights_is_seen(folder):
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 0x10
    weights.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"weights\.safetensors is damaged or was changed") as e:
        Encoder.load(folder)
    assert str(e.value).count(". ") == 0  # one sentence


def test_weights_that_are_no_numbers_are_refused(folder):
    weights = unchecked(folder) / "weights.safetensors"
    tensors = load_file(weights)
    next(tensor for tensor in tensors.values() if tensor.is_floating_point())[...] = torch.nan
    save_file(tensors, weights)
    with pytest.raises(InputError, match="holds no finite numbers"):
        Encoder.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("dim = 24", "dim = 1000000000", "dim: .*8192"),
        ("embed_dim = 16", "embed_dim = 1000000000", "embed_dim: .*4096"),
        ("embed_dim = 16", 'embed_dim = 16\ncheckpoint_path = "/etc/x"', "checkpoint_path: Extra"),
        ("embed_dim = 16", 'embed_dim = "16"', "embed_dim: .*valid integer"),
        ('vit = "vit_tiny_patch16_224"', 'vit = "hf-hub:some/one"', "global_channel.vit: "),
        ("readout = 32", "readout = 1024", "too large"),
    ],
)
def test_a_configuration_that_asks_for_too_much_builds_nothing(
    folder, old, new, words, monkeypatch
):
    config = unchecked(folder) / "config.toml"
    text = config.read_text()
    assert old in text
    changed = text.replace(old, new)
    if "readout" in old:
        changed = changed.replace("dim = 24", "dim = 8192", 1).replace("views = 4", "views = 1")
        changed = changed.replace("crop_pixels = 32", "crop_pixels = 1024")
    config.write_text(changed)

    def build(config):
        raise AssertionError("a network was built")

    monkeypatch.setattr("napari_neurobridge.encoder.embed.DualChannelEncoder", build)
    with pytest.raises(InputError, match=words):
        Encoder.load(folder)


def test_weights_belong_to_their_configuration_even_where_the_tensors_fit_another(folder, crops):
    config = unchecked(folder) / "config.toml"
    text = config.read_text()
    assert "views = 4" in text
    config.write_text(text.replace("views = 4", "views = 1").replace("dim = 24", "dim = 6", 1))
    with pytest.raises(InputError, match="do not fit"):
        Encoder.load(folder)
    config.write_text(text.replace('name = "small"', 'name = "mine"'))
    assert Encoder.load(folder).name == "mine"


def test_weights_that_name_no_architecture_load_as_they_always_did(folder, crops):
    expected = Encoder.load(folder).embed(crops, precision="float32")
    weights = unchecked(folder) / "weights.safetensors"
    save_file(load_file(weights), weights)
    config = folder / "config.toml"
    later = ("weights_sha256", "image_size", "interpolation", "mean", "std")
    lines = [line for line in config.read_text().splitlines() if line.split(" =")[0] not in later]
    config.write_text("\n".join(lines))
    vectors = Encoder.load(folder).embed(crops, precision="float32")
    np.testing.assert_array_equal(vectors, expected)


def test_gate_weights_are_those_of_the_model_in_any_batches(folder, crops):
    encoder = Encoder.load(folder)
    weights = encoder.gate_weights(crops, batch_size=3, precision="float32")
    assert weights.shape == (7, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    with torch.inference_mode():
        tensor = torch.from_numpy(crops)[:, None].to(encoder.device)
        expected = encoder.model.gate_weights(tensor).cpu().numpy()
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    model = small_model()
    model.config = model.config.model_copy(update={"channels": "global"})
    assert Encoder(model, "").gate_weights(crops).tolist() == [[0.0, 1.0]] * 7


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_crop_that_is_no_image_is_named(folder, crops, bad):
    crops[5, 3, 4] = bad
    seen = []
    with pytest.raises(InputError, match=r"crop 5 of 7 \(counted from 0\) holds NaN"):
        Encoder.load(folder).embed(crops, batch_size=2, report=lambda *state: seen.append(state))
    assert [state[0] for state in seen] == [2, 4]


@pytest.mark.skipif(not BUNDLED.exists(), reason="no bundled model in this tree")
def test_bundled_model_is_small_complete_and_embeds():
    files = {path.name: path.stat().st_size for path in BUNDLED.iterdir()}
    assert {"card.md", "fingerprint.npz", "calibration.toml", "SHA256SUMS"} <= set(files)
    assert sum(files.values()) <= 25 * 2**20
    encoder = Encoder.load(BUNDLED)
    assert encoder.name == "compact"
    crops = np.random.default_rng(0).random((2, 150, 150), dtype=np.float32)
    vectors = encoder.embed(crops)
    assert vectors.shape == (2, 768)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    width = encoder.trunk_features(crops).shape[1]
    with np.load(BUNDLED / "fingerprint.npz", allow_pickle=False) as fingerprint:
        for side in ("two_photon", "fmost"):
            assert fingerprint[side].shape == (500, width)
            assert fingerprint[f"{side}_mean"].shape == (width,)
            assert fingerprint[f"{side}_cov"].shape == (width, width)
