-- Copies of images that an operator deletes by age. A row is marked as pruned before its object is
-- deleted, so that a run that was interrupted leaves a list of what is left to delete.

ALTER TABLE job_images
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT only_a_pruned_image_is_deleted
        CHECK (deleted_at IS NULL OR state = 'pruned') NOT VALID;
COMMENT ON COLUMN job_images.pruned_at IS 'When an operator had it deleted: nobody is sent it since.';
COMMENT ON COLUMN job_images.deleted_at IS
    'When the store had deleted it. Null on a pruned image: the next run of darkroom results prune deletes it.';
-- Empty: nothing is pruned before this.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX job_images_to_delete ON job_images (pruned_at) WHERE state = 'pruned' AND deleted_at IS NULL;

-- A longer list takes its place in this transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE audit_entries DROP CONSTRAINT act_must_be_known;
ALTER TABLE audit_entries ADD CONSTRAINT act_must_be_known CHECK (act IN
    ('account_created', 'credits_granted', 'credits_adjusted', 'price_changed',
     'price_history_rebuilt', 'job_cancelled', 'job_retried', 'job_resolved', 'key_created',
     'key_revoked', 'webhook_endpoint_created', 'webhook_secret_rotated', 'webhook_replayed',
     'price_scheduled', 'price_unscheduled', 'job_refunded', 'queue_paused', 'queue_resumed',
     'session_opened', 'session_ended', 'model_routed', 'images_pruned')) NOT VALID;
