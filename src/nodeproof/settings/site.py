"""From inventory data to validated settings: every layer of every host, or every problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from nodeproof.catalog.resolve.asked import Disagreement, joined
from nodeproof.layers import LAYERS, layer_named
from nodeproof.settings.connection import CONNECTOR_KEYS, Connection
from nodeproof.settings.exceptions import NodeExceptions, OwnException
from nodeproof.settings.model import LayerSettings
from nodeproof.settings.problems import Problem, SettingsError, from_validation, nearest, shown
from nodeproof.settings.reboot import When
from nodeproof.settings.roles import NodeRoles, OfRoles, Role

OWN_PREFIX = "x_"
"""Data keys with this prefix belong to the user; nodeproof does not look at them."""


@dataclass(frozen=True)
class HostSettings:
    """What one host is asked to be: its layers in order of application."""

    host: str
    layers: Mapping[str, LayerSettings]
    roles: tuple[Role, ...] = ()
    """What it is for."""
    exceptions: Mapping[str, OwnException] = field(default_factory=dict)
    """Controls that it does not meet on purpose, by id."""

    @property
    def reboot(self) -> When:
        """When apply may reboot it; never, where no layer has such a setting."""
        asked = (getattr(model, "reboot", None) for model in self.layers.values())
        return next((one for one in asked if isinstance(one, When)), When.NEVER)


def merged(datas: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge data from the widest (all) to the nearest (host); dictionaries key by key."""
    result: dict[str, Any] = {}
    for data in datas:
        for key, value in data.items():
            old = result.get(key)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                result[key] = merged((old, value))
            else:
                result[key] = value
    return result


def validate(inventory: str, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, HostSettings]:
    """Validate the merged data of all hosts.

    Raises SettingsError with all problems of all hosts; connects to none of them.
    """
    problems: list[Problem] = []
    site = {host: _host(inventory, host, data, problems) for host, data in hosts.items()}
    if problems:
        raise SettingsError(problems)
    return site


def _host(
    inventory: str, host: str, data: Mapping[str, Any], problems: list[Problem]
) -> HostSettings:
    names = [layer.name for layer in LAYERS]
    _foreign(inventory, host, data, names, problems)
    connection = {key: data[key] for key in data if key in CONNECTOR_KEYS}
    _checked(Connection, connection, inventory, host, "", problems)
    roles = {key: data[key] for key in data if key in NodeRoles.model_fields}
    purpose = _checked(NodeRoles, roles, inventory, host, "", problems)
    layers: dict[str, LayerSettings] = {}
    for name in names:
        asked = data.get(name)
        if asked is None:
            continue
        if not isinstance(asked, Mapping):
            problems.append(
                Problem(
                    inventory,
                    host,
                    name,
                    shown(asked),
                    "wrong type",
                    f"a dictionary, {name} = {{…}}",
                )
            )
            continue
        layer = layer_named(name).settings_model
        takes_roles = issubclass(layer, OfRoles) and purpose is not None
        value = {**roles, **asked} if takes_roles else dict(asked)
        model = _checked(layer, value, inventory, host, name, problems)
        if isinstance(model, LayerSettings):
            layers[name] = model
    try:
        joined(layers.values())
    except Disagreement as error:
        problems.append(
            Problem(
                inventory,
                host,
                error.key,
                shown(list(error.values)),
                "layers ask for different ones",
                "one value; it is enough to give it to one layer",
            )
        )
    asked_roles = purpose.roles if isinstance(purpose, NodeRoles) else ()
    excepted = _exceptions(inventory, host, data, problems)
    return HostSettings(host, layers, tuple(asked_roles), excepted)


def _exceptions(
    inventory: str, host: str, data: Mapping[str, Any], problems: list[Problem]
) -> Mapping[str, OwnException]:
    """Return the exceptions of a host; a control that does not exist is a typing error."""
    from nodeproof.evidence.controls import controls

    asked = {key: data[key] for key in data if key in NodeExceptions.model_fields}
    found = _checked(NodeExceptions, asked, inventory, host, "", problems)
    excepted = found.exceptions if isinstance(found, NodeExceptions) else {}
    for control in excepted:
        if control not in controls():
            key, near = f"exceptions.{control}", nearest(control, controls())
            problems.append(Problem(inventory, host, key, "", "unknown control", nearest=near))
    return excepted


def _checked(
    model: type[BaseModel],
    value: dict[str, Any],
    inventory: str,
    host: str,
    layer: str,
    problems: list[Problem],
) -> BaseModel | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems.extend(from_validation(error, model, inventory, host, layer))
        return None


def _foreign(
    inventory: str, host: str, data: Mapping[str, Any], names: list[str], problems: list[Problem]
) -> None:
    """Refuse keys that look meant for nodeproof but would be ignored: typing errors hide there."""
    for key, value in ((str(key), value) for key, value in data.items()):
        beside = (*NodeRoles.model_fields, *NodeExceptions.model_fields)
        ours = [*names, *beside, *CONNECTOR_KEYS]
        if key in ours or key.startswith(("_", OWN_PREFIX)):
            continue
        near = nearest(key, ours)
        if near or isinstance(value, Mapping):
            problems.append(
                Problem(
                    inventory,
                    host,
                    key,
                    "",
                    "unknown layer or connection key",
                    f"{', '.join(names)}; your own keys begin with {OWN_PREFIX}",
                    near,
                )
            )
