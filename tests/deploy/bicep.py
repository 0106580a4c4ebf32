"""The Bicep of deploy/azure/, as pycep reads it: a name and a text are alike to it, and an expression is a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from pycep import BicepParser

from tests.deploy.compose import ROOT

FOLDER: Final = ROOT / "deploy" / "azure"
FILES: Final = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.bicep"))
SITES: Final = sorted(path.name for path in FOLDER.glob("*.bicepparam"))


@cache
def parsed(name: str) -> dict[str, Any]:
    """Return a file's parameters, variables, resources, modules and outputs."""
    return dict(BicepParser().parse(text=(FOLDER / name).read_text()))


def parameters(name: str) -> dict[str, dict[str, Any]]:
    """Return the parameters of a file."""
    declared: dict[str, dict[str, Any]] = parsed(name)["parameters"]
    return declared


def is_secure(parameter: dict[str, Any]) -> bool:
    """Tell whether Azure keeps a parameter's value out of its records."""
    return any(decorator["type"] == "secure" for decorator in parameter["decorators"])


def is_required(name: str, parameter: str) -> bool:
    """Tell whether a parameter has no default. pycep shows none for an empty one as well."""
    return not re.search(rf"^param {parameter} \w+ =", (FOLDER / name).read_text(), re.MULTILINE)


def modules() -> dict[str, dict[str, Any]]:
    """Return what main.bicep passes to each module, by the module's file."""
    called: dict[str, dict[str, Any]] = {}
    for module in parsed("main.bicep")["modules"].values():
        config = module["config"]
        called[module["detail"]["path"]] = config.get("config", config)["params"]
    return called


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of every resource of a kind, by the name of its file without the ending."""
    return {
        Path(name).stem: resource["config"]
        for name in FILES
        for resource in parsed(name).get("resources", {}).values()
        if resource["type"] == kind and not resource["existing"]
    }


def container_of(app: dict[str, Any]) -> dict[str, Any]:
    """Return the one container of an app or a job."""
    (container,) = app["properties"]["template"]["containers"]
    found: dict[str, Any] = container
    return found


def environment_of(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables that a container is given whatever the site, by their names."""
    listed = container["env"]
    given = listed["function"]["parameters"]["arg_1"] if isinstance(listed, dict) else listed
    return {each["name"]: each for each in given}


def secrets_of(app: dict[str, Any]) -> dict[str, Any]:
    """Return the secrets of an app or a job, by their names."""
    return {each["name"]: each["value"] for each in app["properties"]["configuration"]["secrets"]}


def if_empty(choice: Any) -> tuple[str, Any, Any]:
    """Return the parameter that is asked for, what is chosen if it is empty, and what else."""
    asked = choice["operator"]["operands"]
    return asked["condition"]["function"]["parameters"]["item_to_test"], asked["true_value"], asked["false_value"]


def words(value: object) -> Iterator[str]:
    """Return every word of a tree, with those inside of ``${}``."""
    if isinstance(value, dict):
        for item in value.values():
            yield from words(item)
    elif isinstance(value, list):
        for item in value:
            yield from words(item)
    elif isinstance(value, str):
        yield value
        yield from re.findall(r"\w+", " ".join(re.findall(r"\$\{([^}]*)\}", value)))
