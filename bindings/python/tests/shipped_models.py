"""A model and sessions of it, for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shipped import TEXTURES

import flowturbo


@pytest.fixture(scope="module")
def model() -> Iterator[flowturbo.Model]:
    with flowturbo.Model.open(TEXTURES, threads=1) as model:
        yield model


@pytest.fixture
def session(model: flowturbo.Model) -> Iterator[flowturbo.Session]:
    with model.session() as session:
        yield session
