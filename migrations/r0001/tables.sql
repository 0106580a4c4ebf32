-- Every table as it ends up, for those that are not there yet. The ones that are there are taken over by tracking.sql
-- and events.sql instead. Run again, this changes nothing.

DO $$ BEGIN
    IF to_regtype('attribution_state') IS NULL THEN
        CREATE TYPE attribution_state AS ENUM ('attributed', 'parked', 'expired');
    END IF;
    IF to_regtype('attribution_key') IS NULL THEN
        CREATE TYPE attribution_key AS ENUM (
            'internet_message_id', 'azure_message_id', 'delivery_report', 'header', 'link', 'replaced_system');
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS azure_message_tracking (
    id                   bigserial PRIMARY KEY,
    azure_message_id     uuid UNIQUE,
    campaign_id          int NOT NULL,
    subscriber_id        int,
    smtp_server_uuid     uuid,
    sent_at              timestamptz DEFAULT now(),
    created_at           timestamptz DEFAULT now(),
    internet_message_id  text COLLATE "C" UNIQUE,
    tracked_via          text,
    learned_id           text,
    set_aside_message_id text
);

CREATE TABLE IF NOT EXISTS azure_engagement_events (
    id                  bigserial PRIMARY KEY,
    azure_message_id    uuid,
    campaign_id         int,
    subscriber_id       int,
    engagement_type     text NOT NULL,
    engagement_context  text,
    user_agent          text,
    event_timestamp     timestamptz NOT NULL,
    created_at          timestamptz DEFAULT now(),
    internet_message_id text COLLATE "C",
    event_key           uuid UNIQUE,
    event_id            text,
    state               attribution_state NOT NULL,
    matched_by          attribution_key,
    received_at         timestamptz,
    attributed_at       timestamptz,
    attempts            smallint NOT NULL DEFAULT 0,
    next_attempt_at     timestamptz,
    expired_at          timestamptz,
    expired_reason      text,
    header_campaign     text,
    header_subscriber   text
);

CREATE TABLE IF NOT EXISTS azure_delivery_events (
    id                      bigserial PRIMARY KEY,
    azure_message_id        uuid,
    campaign_id             int,
    subscriber_id           int,
    status                  text NOT NULL,
    status_reason           text,
    delivery_status_details text,
    event_timestamp         timestamptz NOT NULL,
    created_at              timestamptz DEFAULT now(),
    internet_message_id     text COLLATE "C",
    event_key               uuid UNIQUE,
    event_id                text,
    state                   attribution_state NOT NULL,
    matched_by              attribution_key,
    received_at             timestamptz,
    attributed_at           timestamptz,
    attempts                smallint NOT NULL DEFAULT 0,
    next_attempt_at         timestamptz,
    expired_at              timestamptz,
    expired_reason          text,
    header_campaign         text,
    header_subscriber       text
);

-- What could not be read, as it came.
CREATE TABLE IF NOT EXISTS attribution_quarantine (
    id          bigserial PRIMARY KEY,
    content_key uuid NOT NULL UNIQUE,
    kind        text NOT NULL CONSTRAINT attribution_quarantine_kind_check CHECK (kind IN ('event', 'message')),
    reason      text NOT NULL,
    detail      text,
    body        bytea NOT NULL,
    entry_id    text,
    received_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);
