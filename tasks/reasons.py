"""Why bytes were quarantined: the closed list of typed reasons."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A reason, as stored in ``attribution_quarantine.reason``. docs/quarantine.md tells what to do about each."""

    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    TOO_MANY_EVENTS = "too_many_events"
    NOT_AN_EVENT = "not_an_event"
    EVENT_TYPE_INVALID = "event_type_invalid"
    EVENT_ID_INVALID = "event_id_invalid"
    SOURCE_INVALID = "source_invalid"
    DATA_INVALID = "data_invalid"
    FIELD_INVALID = "field_invalid"
    MESSAGE_ID_INVALID = "message_id_invalid"
    NO_MESSAGE_ID = "no_message_id"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_INVALID = "timestamp_invalid"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    TRACKING_INVALID = "tracking_invalid"
    TRACKING_REFUSED = "tracking_refused"
    CAMPAIGN_OR_SUBSCRIBER_DELETED = "campaign_or_subscriber_deleted"
    REFUSED_BY_DATABASE = "refused_by_database"
    DELIVERED_TOO_OFTEN = "delivered_too_often"
