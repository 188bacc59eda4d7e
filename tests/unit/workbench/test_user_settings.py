"""What a user has chosen outlives the program, and damage to it harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_neurobridge.workbench.user_settings import (
    FOLDER_VARIABLE,
    Layout,
    UserSettings,
    change_settings,
    load_settings,
    settings_path,
)


def test_settings_come_back_and_keep_what_was_not_changed() -> None:
    change_settings(next_after_verdict=True)
    change_settings(layout=Layout(column_px=444, docks=("Data", "Match"), front="Match"))

    assert load_settings() == UserSettings(
        next_after_verdict=True,
        layout=Layout(column_px=444, docks=("Data", "Match"), front="Match"),
    )
    assert [path.name for path in settings_path().parent.iterdir()] == ["settings.json"]


def test_what_another_version_wrote_is_kept() -> None:
    settings_path().parent.mkdir(parents=True, exist_ok=True)
    settings_path().write_text('{"new_setting": 3}', "utf-8")

    change_settings(next_after_verdict=True)

    assert '"new_setting": 3' in settings_path().read_text("utf-8")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"next_after_verdict": "maybe"}'])
def test_a_damaged_file_means_the_usual_settings(content: bytes) -> None:
    settings_path().parent.mkdir(parents=True, exist_ok=True)
    settings_path().write_bytes(content)

    assert load_settings() == UserSettings()


def test_a_folder_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "file"
    taken.write_text("no folder")
    monkeypatch.setenv(FOLDER_VARIABLE, str(taken))

    assert change_settings(next_after_verdict=True).next_after_verdict
    assert load_settings() == UserSettings()
