from __future__ import annotations

from pathlib import Path

import pytest

from tests import media


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s at 25 fps in three scenes, with sound."""
    return media.make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=4, scenes=(1.2, 2.8), audio_seconds=4)


@pytest.fixture(scope="session")
def upright_phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored 160x90, to be turned 90 degrees clockwise for display."""
    return media.make_video(tmp_path_factory.mktemp("phone") / "phone.mp4", rotation=90)
