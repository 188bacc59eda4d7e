import hashlib
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from napari_neurobridge.encoder import hub
from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, backbone_config
from napari_neurobridge.encoder.embed import Encoder, save_model
from napari_neurobridge.encoder.hub import find_weights, published_backbone
from napari_neurobridge.errors import InputError

NAME = "mobilenetv3_small_050.lamb_in1k"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("NEUROBRIDGE_BACKBONES", str(tmp_path / "backbones"))
    return tmp_path / "backbones"


@pytest.fixture
def no_network(monkeypatch):
    """Fail as the hub's client does without a network, and count how often it is asked."""
    asked = []

    def download(repository, file, *, local_files_only):
        asked.append((file, local_files_only))
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    return asked


def published_file(folder: Path, *, seed: int = 0) -> Path:
    """Write what timm would publish: a classifier of colour images."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = timm.create_model("mobilenetv3_small_050")
    path = folder / f"{NAME}.safetensors"
    save_file(model.state_dict(), path)
    return path


def test_the_usual_weights_of_an_architecture_are_named_with_their_images():
    backbone = published_backbone("mobilenetv3_small_050")
    assert backbone.name == NAME
    assert (backbone.channels, backbone.size) == (3, 224)
    assert backbone.mean == (0.485, 0.456, 0.406)
    assert backbone.repository == f"timm/{NAME}"
    assert not backbone.fixed_size
    assert published_backbone("vit_tiny_patch16_224").fixed_size


def test_unknown_names_and_tags_say_what_there_is():
    with pytest.raises(InputError, match="knows no model named 'vit_giantest'"):
        published_backbone("vit_giantest")
    with pytest.raises(InputError, match=r"no weights named 'resnet18.mine'; it has .*a1_in1k"):
        published_backbone("resnet18.mine")
    with pytest.raises(InputError, match="publishes no weights of 'mixer_s16_224'"):
        find_weights("mixer_s16_224")


def test_without_a_network_one_sentence_says_what_to_put_where(own_folder, no_network):
    with pytest.raises(InputError) as raised:
        DualChannelEncoder(backbone_config(NAME))
    text = str(raised.value)
    assert f"model.safetensors of timm/{NAME}" in text
    assert str(own_folder / f"{NAME}.safetensors") in text
    assert "bundled model" in text
    assert "\n" not in text
    # Both names are looked for in the cache, but one failure to connect is enough.
    assert [local for _, local in no_network] == [True, True, False]


def test_what_the_sentence_says_works(own_folder, no_network):
    path = published_file(own_folder)
    model = DualChannelEncoder(backbone_config(NAME))
    assert not no_network
    loaded = timm.create_model("mobilenetv3_small_050", checkpoint_path=str(path))
    torch.testing.assert_close(model.global_channel.vit.conv_stem.weight, loaded.conv_stem.weight)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.config.global_channel.weights_sha256 == digest


def test_the_cache_is_used_before_the_network(tmp_path, monkeypatch):
    cached = published_file(tmp_path / "cache")

    def download(repository, file, *, local_files_only):
        assert local_files_only, "the network was asked for what the cache holds"
        return str(cached)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    path, digest = find_weights(NAME)
    assert path == cached
    assert digest == hashlib.sha256(cached.read_bytes()).hexdigest()


def test_other_weights_than_those_recorded_are_refused(own_folder):
    published_file(own_folder)
    config = DualChannelEncoder(backbone_config(NAME)).config
    DualChannelEncoder(config)
    published_file(own_folder, seed=1)
    with pytest.raises(InputError, match=f"are not those of {NAME} that this model starts from"):
        DualChannelEncoder(config)


def test_damaged_and_foreign_files_are_named(own_folder):
    path = published_file(own_folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"safetensors are damaged; delete the file"):
        DualChannelEncoder(backbone_config(NAME))
    save_file(timm.create_model("resnet18").state_dict(), path)
    with pytest.raises(InputError, match=r"cannot build .* with the weights"):
        DualChannelEncoder(backbone_config(NAME))


def test_a_saved_model_needs_the_hub_no_more(own_folder, tmp_path, no_network):
    path = published_file(own_folder)
    model = DualChannelEncoder(backbone_config(NAME))
    save_model(model, tmp_path / "model")
    path.unlink()
    encoder = Encoder.load(tmp_path / "model")
    digest = model.config.global_channel.weights_sha256
    assert encoder.config.global_channel.weights_sha256 == digest
    assert not no_network
    crops = torch.rand(2, 1, 150, 150)
    with torch.inference_mode():
        similarity = (model.eval()(crops) * encoder.model.cpu()(crops)).sum(dim=1)
    assert similarity.min() > 0.999


def test_a_published_file_is_fetched_once_and_its_digest_checked(own_folder, tmp_path):
    origin = tmp_path / "network" / "some.pth"
    origin.parent.mkdir()
    origin.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    path = hub.find_published_file(origin.as_uri(), sha256=digest)
    assert path == own_folder / "some.pth"
    origin.unlink()
    assert hub.find_published_file(origin.as_uri(), sha256=digest).read_bytes() == b"weights"
    path.write_bytes(b"others")
    with pytest.raises(InputError, match="is not the one that was published"):
        hub.find_published_file(origin.as_uri(), sha256=digest)


def test_another_file_at_the_address_or_none_leaves_nothing_behind(own_folder, tmp_path):
    origin = tmp_path / "some.pth"
    with pytest.raises(InputError, match=f"get {origin.as_uri()} and put it here"):
        hub.find_published_file(origin.as_uri(), sha256="0" * 64)
    origin.write_bytes(b"others")
    with pytest.raises(InputError, match="cannot be downloaded"):
        hub.find_published_file(origin.as_uri(), sha256="0" * 64)
    assert list(own_folder.iterdir()) == []
