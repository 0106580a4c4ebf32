-- Where a batch is copied to before one statement takes it up. A session keeps the tables it has used, and a transaction
-- leaves them empty. They are not all made with the connection: each commit truncates every one that there is, used or
-- not, which is the dearest part of a small batch.

-- name: create_incoming_deliveries
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_deliveries (
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
    bounce_type text,
    recipient_domain text,
    recipient text,
    header_campaign_id integer,
    header_subscriber_id integer
) ON COMMIT DELETE ROWS;

-- name: create_incoming_engagements
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_engagements (
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
    uncounted text,
    recipient text,
    link_campaign uuid,
    link_subscriber uuid,
    header_campaign_id integer,
    header_subscriber_id integer
) ON COMMIT DELETE ROWS;

-- name: create_incoming_messages
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_messages (
    position integer NOT NULL,
    internet_message_id text COLLATE "C",
    azure_message_id uuid,
    campaign_id integer NOT NULL,
    subscriber_id integer,
    smtp_server_uuid uuid,
    sent_at timestamptz,
    tracked_via text NOT NULL,
    recipient_domain text
) ON COMMIT DELETE ROWS;
