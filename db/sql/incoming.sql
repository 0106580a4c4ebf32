-- Where a batch is copied to before one statement takes it up. The tables are made with each connection of the pipeline,
-- not in each transaction: that took a tenth of a small batch's time. A transaction leaves them empty.

-- name: create_incoming_deliveries
CREATE TEMPORARY TABLE incoming_deliveries (
    event_key uuid NOT NULL,
    event_id text NOT NULL,
    internet_message_id text COLLATE "C",
    azure_message_id uuid,
    event_timestamp timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    header_campaign text,
    header_subscriber text,
    status text NOT NULL,
    status_reason text,
    delivery_status_details text,
    header_campaign_id integer,
    header_subscriber_id integer
) ON COMMIT DELETE ROWS;

-- name: create_incoming_engagements
CREATE TEMPORARY TABLE incoming_engagements (
    event_key uuid NOT NULL,
    event_id text NOT NULL,
    internet_message_id text COLLATE "C",
    azure_message_id uuid,
    event_timestamp timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    header_campaign text,
    header_subscriber text,
    engagement_type text NOT NULL,
    engagement_context text,
    user_agent text,
    header_campaign_id integer,
    header_subscriber_id integer
) ON COMMIT DELETE ROWS;

-- name: create_incoming_messages
CREATE TEMPORARY TABLE incoming_messages (
    position integer NOT NULL,
    internet_message_id text COLLATE "C",
    azure_message_id uuid,
    campaign_id integer NOT NULL,
    subscriber_id integer,
    smtp_server_uuid uuid,
    sent_at timestamptz,
    tracked_via text NOT NULL
) ON COMMIT DELETE ROWS;
