"""The doctor on what lies outside the box: the broker, its access list, and the LLM's server."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.deliver.probe import send_probes
from edge_monitor.deliver.topics import Topics
from edge_monitor.doctor.finding import Finding, carefully, fail, ok, skip, warn
from edge_monitor.errors import DeliveryError
from edge_monitor.explain.llm import look_up_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.config.settings import MqttSettings, Settings
    from edge_monitor.deliver.probe import Probes

_PATIENCE_S = 4.0  # for the broker to answer, and for probes to come back
_SERVICE_CREDENTIALS = Path("/run/credentials/edge-monitor.service")  # systemd.exec(5); root and the service may read


def look_at_broker(settings: Settings) -> Iterator[Finding]:
    """Yield whether the broker lets this node in, and takes what it sends on each of its topics."""
    mqtt = settings.mqtt
    if mqtt is None:
        yield skip("none is configured: alerts are kept and shown, not sent")
        return
    if mqtt.password_credential is not None and not find_credentials():
        yield _only_for_the_service("password")
        return
    topics = Topics(mqtt.topic_prefix, settings.node.site, settings.node.name)
    # A probe beside each topic, not on it: nobody shall take it for an alarm.
    probed = {f"{topic}/probe": topic for topic in _needed(topics, settings)}
    run_topics = sorted({each.running.topic for each in settings.machine if each.running.topic is not None})
    client_id = f"{mqtt.client_id or f'edge-monitor-{topics.site}-{topics.node}'}-doctor"
    probes = send_probes(mqtt, client_id, list(probed), listen=run_topics, timeout_s=_PATIENCE_S)
    tls = " with TLS" if mqtt.tls else ""
    user = "" if mqtt.username is None else f" as {mqtt.username}"
    yield ok(f"{mqtt.host}:{mqtt.port}: connected{tls}{user}, MQTT {mqtt.protocol}")
    if probes.silent and mqtt.protocol == "3.1.1":
        probes = _ask_again(mqtt, client_id, probes)
    yield from carefully("topics", _judge_topics(probes, probed, topics.base, mqtt.protocol))


def _needed(topics: Topics, settings: Settings) -> Iterator[str]:
    yield topics.status
    for machine in settings.machine:
        yield topics.state(machine.name)
        yield topics.score(machine.name)
        yield topics.alert(machine.name)
        yield topics.explanation(machine.name)


def _ask_again(mqtt: MqttSettings, client_id: str, before: Probes) -> Probes:
    """Send what was not seen again with MQTT 5, if the broker speaks it: there it says what it denies."""
    try:
        again = send_probes(
            mqtt.model_copy(update={"protocol": "5"}), client_id, sorted(before.silent), timeout_s=_PATIENCE_S
        )
    except DeliveryError:
        return before
    return replace(again, arrived=before.arrived | again.arrived, unheard=before.unheard)


def _judge_topics(probes: Probes, probed: dict[str, str], base: str, protocol: str) -> Iterator[Finding]:
    allow = f"allow this user to write {base}/#"
    for probe, words in sorted(probes.refused.items()):
        yield fail(f"{probed[probe]}: the broker refuses it: {words}", f"{allow} (the probe was sent to {probe})")
    for probe in sorted(probes.silent):
        if protocol == "5":
            yield fail(f"{probed[probe]}: not acknowledged", "is the broker overloaded?")
        else:
            yield fail(
                f"{probed[probe]}: a probe beside it never came back",
                f"{allow}, and to read {probe}: MQTT 3.1.1 does not say what is denied",
            )
    if len(probes.arrived) == len(probed):
        yield ok(f"{base}: all {len(probed)} topics can be written")
    for topic, words in probes.unheard.items():
        yield fail(f"{topic}: the broker does not let this node listen: {words}", f"allow this user to read {topic}")


def look_at_llm(settings: Settings) -> Iterator[Finding]:
    """Yield whether the LLM's server can be reached and takes the key. No sound, figure or prompt is sent."""
    explain = settings.explain
    if explain.llm == "off":
        yield skip("off: alarms are explained by what is measured")
        return
    if explain.api_key_credential is not None and not find_credentials():
        yield _only_for_the_service("key")
        return
    page = look_up_models(explain)
    if page.models and explain.model not in page.models:
        yield warn(
            f"{page.host} answers, but does not list the model {explain.model}",
            f"explain.model; it lists {', '.join(page.models[:5])}",
        )
    elif page.models is None:
        yield warn(
            f"{page.host} answers, but lists no models: the key could not be tried",
            "`edge-monitor explain` tries it in full",
        )
    else:
        yield ok(f"{page.host} answers, and takes the key" if page.with_key else f"{page.host} answers")


def find_credentials() -> bool:
    """Return whether systemd's credentials can be read here; the running service's are found for root."""
    if "CREDENTIALS_DIRECTORY" in os.environ:
        return True
    if os.access(_SERVICE_CREDENTIALS, os.R_OK | os.X_OK):
        os.environ["CREDENTIALS_DIRECTORY"] = str(_SERVICE_CREDENTIALS)
        return True
    return False


def _only_for_the_service(what: str) -> Finding:
    return skip(
        f"the {what} is a systemd credential, which is not at hand here", "run doctor as root while the service runs"
    )
