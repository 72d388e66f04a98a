-- Copies of images. The statement that stores links of images writes a row of job_images for each, where
-- its caller says that results are kept; workers copy them. The functions are of the kind that
-- sql/functions/transitions.sql describes. Each locks the job before its images, so that two copies of
-- one job that end together both show.

-- What callers see of an image. `expires_at` is when `url` stops to answer; null: it lasts.
CREATE OR REPLACE FUNCTION darkroom_show_image(
    url text, kie_url text, expires_at timestamptz, content_type text, bytes bigint, width integer,
    height integer, sha256 text
) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_object(
        'url', url, 'kie_url', kie_url, 'content_type', content_type, 'bytes', bytes, 'width', width,
        'height', height, 'sha256', sha256,
        'expires_at', to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
$$;
COMMENT ON FUNCTION darkroom_show_image IS 'An element of jobs.images.';

CREATE OR REPLACE FUNCTION darkroom_show_new_images(urls text[]) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_agg(darkroom_show_image(url, url, now() + interval '14 days', NULL, NULL, NULL,
                                                  NULL, NULL) ORDER BY position), '[]')
      FROM unnest(urls) WITH ORDINALITY AS image (url, position)
$$;
COMMENT ON FUNCTION darkroom_show_new_images IS 'jobs.images for links of which none is copied yet.';

-- With the lock of the job held by the caller.
CREATE OR REPLACE FUNCTION darkroom_show_images(of_job uuid) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    UPDATE jobs
       SET images = (
               SELECT jsonb_agg(darkroom_show_image(
                          CASE WHEN image.state IN ('stored', 'pruned') THEN image.url
                               ELSE image.kie_url END,
                          image.kie_url,
                          CASE image.state WHEN 'stored' THEN NULL WHEN 'pruned' THEN image.pruned_at
                               ELSE image.expires_at END,
                          image.content_type, image.bytes, image.width, image.height, image.sha256)
                          ORDER BY image.position)
                 FROM job_images AS image WHERE image.job_id = of_job),
           updated_at = now()
     WHERE jobs.id = of_job
$$;
COMMENT ON FUNCTION darkroom_show_images IS 'Writes jobs.images of one job from job_images.';

-- Ends the wait of one job's end for its images: its message goes out, and who waits is answered. With
-- the lock of the job held by the caller. False: nothing waited.
CREATE OR REPLACE FUNCTION darkroom_announce_images(of_job uuid, event_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    message record;
BEGIN
    UPDATE jobs SET images_due_at = NULL WHERE id = of_job AND images_due_at IS NOT NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE job_images SET announce_at = NULL WHERE job_id = of_job AND announce_at IS NOT NULL;
    INSERT INTO job_events (job_id, event, detail)
    SELECT of_job, event_name,
           jsonb_build_object('images', count(*),
                              'stored', count(*) FILTER (WHERE state = 'stored'))
      FROM job_images WHERE job_id = of_job;
    FOR message IN
        UPDATE webhook_messages SET next_try_at = now()
         WHERE job_id = of_job AND event = 'job.succeeded' AND state = 'pending' AND tries = 0
           AND next_try_at > now()
        RETURNING id, endpoint_id
    LOOP
        PERFORM pg_notify('darkroom_webhooks', message.id || ' ' || message.endpoint_id);
    END LOOP;
    RETURN true;
END $$;
COMMENT ON FUNCTION darkroom_announce_images IS
    'Announces the end of a job that waited for copies of its images.';

-- name: claim_images
-- Takes images that are due, for as long as a copy may take. $1 that long (seconds), $2 limit. Nobody
-- waits for a row that another worker is taking.
CREATE OR REPLACE FUNCTION darkroom_claim_images(double precision, bigint)
RETURNS TABLE (job_id uuid, "position" integer, tries integer, kie_url text, provider_task_id text,
               retry_until timestamptz, created_at timestamptz, family text, provider_account text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH due AS (
        SELECT image.job_id, image.position FROM job_images AS image
         WHERE image.state = 'waiting' AND image.next_try_at <= now()
         ORDER BY image.next_try_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE job_images AS image
           SET next_try_at = now() + make_interval(secs => $1), tries = image.tries + 1
          FROM due
         WHERE (image.job_id, image.position) = (due.job_id, due.position)
           AND image.state = 'waiting' AND image.next_try_at <= now()
        RETURNING image.*
    )
    SELECT claimed.job_id, claimed.position, claimed.tries, claimed.kie_url, claimed.provider_task_id,
           claimed.retry_until, claimed.created_at, coalesce(attempt.route, jobs.model),
           attempt.provider_account
      FROM claimed
      JOIN jobs ON jobs.id = claimed.job_id
      JOIN job_attempts AS attempt
        ON (attempt.job_id, attempt.number) = (claimed.job_id, claimed.attempt);
END $$;
COMMENT ON FUNCTION darkroom_claim_images IS 'For workers: takes images whose copy is due.';

-- $1 job id, $2 position, $3 the try that copied it, $4 url, $5 key, $6 content type, $7 bytes, $8 width,
-- $9 height, $10 sha256. No row back: another try has stored it. `is_announced`: it was the last that
-- the end of the job waited for.
CREATE OR REPLACE FUNCTION darkroom_record_image_stored(
    uuid, integer, integer, text, text, text, bigint, integer, integer, text)
RETURNS TABLE (is_announced boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM jobs WHERE jobs.id = $1 FOR NO KEY UPDATE;
    UPDATE job_images AS image
       SET state = 'stored', announce_at = NULL, last_error = NULL, stored_at = now(), url = $4, key = $5,
           content_type = $6, bytes = $7, width = $8, height = $9, sha256 = $10
     WHERE image.job_id = $1 AND image.position = $2 AND image.tries = $3 AND image.state = 'waiting';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM darkroom_show_images($1);
    IF EXISTS (SELECT FROM job_images AS image WHERE image.job_id = $1 AND image.state = 'waiting') THEN
        RETURN QUERY SELECT false;
    ELSE
        RETURN QUERY SELECT darkroom_announce_images($1, 'images_stored');
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_record_image_stored IS
    'For workers: notes that an image is in the store, and announces the end that waited for it.';

-- name: record_image_failed
-- $1 job id, $2 position, $3 the try that failed, $4 why, $5 delay of the next try (seconds). The last
-- try is made at retry_until. No row back: another try has taken it.
CREATE OR REPLACE FUNCTION darkroom_record_image_failed(
    uuid, integer, integer, text, double precision)
RETURNS TABLE (state text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    UPDATE job_images AS image
       SET last_error = $4,
           next_try_at = least(now() + make_interval(secs => $5),
                               greatest(image.retry_until, now() + interval '1 second')),
           state = CASE WHEN now() >= image.retry_until THEN 'failed' ELSE 'waiting' END,
           announce_at = CASE WHEN now() < image.retry_until THEN image.announce_at END
     WHERE image.job_id = $1 AND image.position = $2 AND image.tries = $3 AND image.state = 'waiting'
    RETURNING image.state;
END $$;
COMMENT ON FUNCTION darkroom_record_image_failed IS
    'For workers: notes that a copy has failed, and when it is tried again.';

-- Announces the ends that have waited long enough for their images. $1 limit.
CREATE OR REPLACE FUNCTION darkroom_announce_overdue_images(bigint)
RETURNS TABLE (job_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    overdue uuid;
BEGIN
    FOR overdue IN
        SELECT jobs.id FROM jobs
         WHERE jobs.id IN (SELECT image.job_id FROM job_images AS image
                            WHERE image.announce_at <= now() ORDER BY image.announce_at LIMIT $1)
           AND jobs.images_due_at <= now()
           FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        IF darkroom_announce_images(overdue, 'images_overdue') THEN
            job_id := overdue;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_announce_overdue_images IS
    'For workers: announces ends whose images were not stored in time.';

-- Marks copies that were stored before a time as deleted, for readers as well, and notes who did it.
-- Their objects are deleted afterwards. The limit bounds how long their jobs are locked.
CREATE OR REPLACE FUNCTION darkroom_prune_images(
    stored_before timestamptz, batch bigint, by jsonb DEFAULT NULL
) RETURNS TABLE (images bigint, jobs bigint, bytes bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    before text[];
    ids    uuid[];
    pruned record;
BEGIN
    ids := ARRAY(SELECT job.id FROM jobs AS job
                  WHERE job.id IN (SELECT image.job_id FROM job_images AS image
                                    WHERE image.state = 'stored' AND image.stored_at < stored_before
                                    ORDER BY image.stored_at LIMIT batch)
                  ORDER BY job.id FOR NO KEY UPDATE);
    WITH marked AS (
        UPDATE job_images AS image SET state = 'pruned', pruned_at = now()
         WHERE image.job_id = ANY(ids) AND image.state = 'stored' AND image.stored_at < stored_before
        RETURNING image.job_id, image.bytes
    )
    SELECT count(*) AS images, count(DISTINCT job_id) AS jobs,
           coalesce(sum(marked.bytes), 0)::bigint AS bytes INTO pruned FROM marked;
    IF pruned.images > 0 THEN
        PERFORM darkroom_show_images(id) FROM unnest(ids) AS id;
        before := darkroom_enter_act(by, NULL);
        PERFORM darkroom_write_audit_entry(
            'images_pruned', 'job_images', NULL, NULL, NULL,
            jsonb_build_object('images', pruned.images, 'jobs', pruned.jobs, 'bytes', pruned.bytes,
                               'stored_before', stored_before));
        PERFORM darkroom_leave_act(before);
    END IF;
    RETURN QUERY SELECT pruned.images, pruned.jobs, pruned.bytes;
END $$;
COMMENT ON FUNCTION darkroom_prune_images IS
    'Marks copies of images as deleted that were stored before a time, at most those of so many jobs, and returns how many. darkroom results prune then deletes them from the store. by: who, as one of our programs states it.';

-- $1 job ids, $2 positions. Returns how many were not yet known to be deleted.
CREATE OR REPLACE FUNCTION darkroom_record_images_deleted(uuid[], integer[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    deleted bigint;
BEGIN
    UPDATE job_images AS image SET deleted_at = now()
      FROM unnest($1, $2) AS one (job_id, position)
     WHERE (image.job_id, image.position) = (one.job_id, one.position)
       AND image.state = 'pruned' AND image.deleted_at IS NULL;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$;
COMMENT ON FUNCTION darkroom_record_images_deleted IS
    'Notes that pruned images are no longer in the store.';

-- Makes copies that have failed due at once, and tries them for another day: those given up, and those
-- that wait for their next try. Only those of some jobs, or of the jobs that match a filter of
-- sql/functions/filtered_jobs.sql. One call of a person is several of this, each for as many images as
-- `batch` says; `since`, the time of that call, keeps them from taking an image twice. An image that
-- Kie has deleted is left as it is. A copy in progress that is taken records nothing: another try has
-- followed it. No job is locked, as what it shows of an image stays the same.
CREATE OR REPLACE FUNCTION darkroom_retry_images(
    of_jobs uuid[], wanted jsonb, since timestamptz, batch bigint, by jsonb DEFAULT NULL
) RETURNS TABLE (job_id uuid, images bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    before text[];
    taken  uuid[];
BEGIN
    PERFORM darkroom_check_filter(wanted);
    WITH due AS (
        SELECT image.job_id, image.position FROM job_images AS image JOIN jobs ON jobs.id = image.job_id
         WHERE (image.state = 'failed' OR image.state = 'waiting' AND image.last_error IS NOT NULL)
           AND image.retry_until < since + interval '1 day' AND image.expires_at > now()
           AND (of_jobs IS NULL OR image.job_id = ANY(of_jobs))
           AND (wanted IS NULL OR darkroom_job_matches(jobs, wanted))
         ORDER BY image.job_id, image.position LIMIT batch
           FOR NO KEY UPDATE OF image SKIP LOCKED
    ), retried AS (
        UPDATE job_images AS image
           SET state = 'waiting', next_try_at = now(), retry_until = now() + interval '1 day'
          FROM due
         WHERE (image.job_id, image.position) = (due.job_id, due.position)
           AND image.state IN ('failed', 'waiting')
        RETURNING image.job_id
    )
    SELECT array_agg(retried.job_id) INTO taken FROM retried;
    IF taken IS NOT NULL THEN
        before := darkroom_enter_act(by, NULL);
        PERFORM darkroom_write_audit_entry(
            'images_retried', 'job_images', NULL,
            CASE WHEN cardinality(of_jobs) = 1 THEN of_jobs[1] END, NULL,
            jsonb_strip_nulls(jsonb_build_object(
                'images', cardinality(taken),
                -- An entry stays for ever, and metadata is erased with its job.
                'where', CASE WHEN wanted ? 'metadata' THEN wanted || '{"metadata": "(masked)"}'
                              ELSE wanted END,
                'jobs', (SELECT count(DISTINCT one) FROM unnest(taken) AS one))));
        PERFORM darkroom_leave_act(before);
    END IF;
    RETURN QUERY SELECT one, count(*) FROM unnest(taken) AS one GROUP BY one;
END $$;
COMMENT ON FUNCTION darkroom_retry_images IS
    'Makes failed copies of images due at once, for another day: at most so many, and returns how many of each job. of_jobs and wanted: whose, null: every job. since: when the act began, such as now(). by: who, as one of our programs states it.';
