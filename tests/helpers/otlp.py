"""Reads what an OTLP receiver gets, with the messages that OpenTelemetry publishes."""

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def traces_of(body: bytes) -> Any:
    """Return the message of a request for `/v1/traces`; raises for a member that it has not."""
    found = json.loads(body)
    for resource in found["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                # OTLP has ids in hex where JSON of protobuf has base64.
                for name, size in (("traceId", 32), ("spanId", 16), ("parentSpanId", 16)):
                    text = span.pop(name, "0" * size)
                    assert len(text) == size
                    int(text, 16)
    return json_format.ParseDict(found, ExportTraceServiceRequest())


def points_of(body: bytes) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Yield name, labels and data point of every histogram of a request for `/v1/metrics`.

    Raises for a member that the messages do not have.
    """
    message = json_format.Parse(body, ExportMetricsServiceRequest())
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                assert metric.unit == "s"
                for point in metric.histogram.data_points:
                    labels = {each.key: each.value.string_value for each in point.attributes}
                    yield metric.name, labels, point
