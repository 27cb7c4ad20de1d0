-- The demo shop's tables. One row in failed_tasks is one task that failed for good.
create table failed_tasks (
    id                bigserial primary key,
    task_id           text not null,
    task_name         text not null,
    queue_name        text not null,
    args              jsonb,
    kwargs            jsonb,
    body              bytea,                -- the bytes of a payload that was no JSON, as they came
    exception_type    text not null,
    exception_message text not null default '',
    traceback         text,
    retries_attempted integer not null default 0,
    max_retries       integer,
    priority          integer,
    enqueued_at       timestamptz,
    first_failed_at   timestamptz,
    failed_at         timestamptz not null default now(),
    replayed_at       timestamptz,
    replayed_task_id  text,
    status            text not null default 'failed'
                      check (status in ('failed', 'pending_replay', 'replayed', 'archived')),
    worker            text,
    idempotency_key   text,
    trace_id          text
);
create index failed_tasks_pick on failed_tasks (status, queue_name, failed_at);
create index failed_tasks_time on failed_tasks (failed_at);
create index failed_tasks_task on failed_tasks (task_id);

-- Each run of a task, so that an outcome can be told: started, success, failed, retry.
create table task_executions (
    id         bigserial primary key,
    task_id    text not null,
    task_name  text not null,
    queue_name text,
    status     text not null check (status in ('started', 'success', 'failed', 'retry')),
    runtime_ms integer,
    worker     text,
    created_at timestamptz not null default now()
);
create index task_executions_task on task_executions (task_id);
create index task_executions_time on task_executions (created_at);

-- What tasks work on. A property that was deleted is not here.
create table properties (
    id      bigint primary key,
    tenant  text not null,
    address text not null,
    state   text not null
);

-- What tasks leave behind. idempotency_key is no unique key here, as in so many shops: a duplicate shows.
create table communications (
    id              bigserial primary key,
    property_id     bigint,
    template_id     integer,
    channel         text not null,
    recipient       text,
    idempotency_key text,
    task_id         text,
    created_at      timestamptz not null default now()
);
create index communications_key on communications (idempotency_key);
create index communications_property on communications (property_id, template_id);
