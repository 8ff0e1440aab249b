"""Each overlay, as both pairs of tools render it, and the chart with the values of that name."""

import pytest

from tests.manifests.objects import CHART, KUSTOMIZE, NAMES, Key, Object, objects
from tests.manifests.tools import PACKAGES, CannotRun, Tools, fetched


@pytest.fixture(scope="session", params=sorted(PACKAGES))
def tools(request: pytest.FixtureRequest) -> Tools:
    try:
        return fetched(PACKAGES[request.param])
    except CannotRun as reason:
        pytest.skip(f"manifests not rendered: {reason}")


@pytest.fixture(params=NAMES)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def kustomized(tools: Tools, overlay: str) -> dict[Key, Object]:
    return objects(tools.kustomize(KUSTOMIZE / "overlays" / overlay))


@pytest.fixture
def templated(tools: Tools, overlay: str) -> dict[Key, Object]:
    values = CHART / "values" / f"{overlay}.yaml"
    return objects(tools.template(CHART, *(("-f", str(values)) if values.exists() else ())))
