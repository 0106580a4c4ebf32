-- New columns of the two event tables. None has a default, so no row is touched.
ALTER TABLE azure_engagement_events
    -- What listmonk's tracked link names, where the click was on one.
    ADD COLUMN IF NOT EXISTS link_campaign_id   int,
    ADD COLUMN IF NOT EXISTS link_subscriber_id int,
    -- Why an attributed event is not counted by a row of ours, and the native row that counts it instead.
    ADD COLUMN IF NOT EXISTS uncounted          text,
    ADD COLUMN IF NOT EXISTS native_id          bigint,
    -- The run (replay, import) that brought the event, if the stream did not.
    ADD COLUMN IF NOT EXISTS run_id             int;
ALTER TABLE azure_delivery_events
    ADD COLUMN IF NOT EXISTS bounce_type        text,
    ADD COLUMN IF NOT EXISTS recipient_domain   text,
    ADD COLUMN IF NOT EXISTS run_id             int;
