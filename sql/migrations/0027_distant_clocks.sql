-- Lists by time of creation go through ids, which begin with the time by the clock of the program that
-- made them. Almost every job's id is within seconds of created_at. This index covers the others, so
-- that a list reads few jobs outside its times, whatever those clocks said.
CREATE FUNCTION darkroom_clock_distance(id uuid, created_at timestamptz) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('{2, 1, 0, 1, 2}'::integer[])[1 + width_bucket(
        created_at - timestamptz '1970-01-01 00:00:00+00'
            - ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint * interval '1 millisecond',
        ARRAY[interval '-10 minutes', interval '-5 seconds', interval '5 seconds', interval '10 minutes'])]
$$;
COMMENT ON FUNCTION darkroom_clock_distance(uuid, timestamptz) IS
    'How far created_at, by the clock of Postgres, is from the time in the id, by the clock of the program that made it. 0: up to five seconds; 1: up to ten minutes; 2: more.';

-- Usually empty.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_of_distant_clocks ON jobs (darkroom_clock_distance(id, created_at), id DESC)
    WHERE darkroom_clock_distance(id, created_at) IN (1, 2);
