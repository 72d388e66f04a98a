-- Following events as they are committed. Ids are handed out in the order of the writing, not of
-- the committing: whoever reads "above the last id" passes over what commits late. With the
-- writing transaction noted, a reader can ask for exactly what a snapshot of before did not show.

-- A constant first, so that no row is written anew; then what every later row gets.
ALTER TABLE job_events ADD COLUMN tx xid8 NOT NULL DEFAULT '0';
ALTER TABLE job_events ALTER COLUMN tx SET DEFAULT pg_current_xact_id();
COMMENT ON COLUMN job_events.tx IS
    'The transaction that wrote it, by which listeners are told each event once it is committed; 0: older than this column. After a restore into another cluster: UPDATE job_events SET tx = ''0''.';
-- Not CONCURRENTLY: each file is one transaction. Writers wait about a second per million events.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX job_events_by_transaction ON job_events (tx, id);
