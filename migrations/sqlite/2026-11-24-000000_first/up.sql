-- The first schema. SQLite and PostgreSQL have the same tables; instants are microseconds since 1970 (UTC),
-- identifiers are text, documents are JSON as text: the same Rust types on both.

-- One identity provider instance.
CREATE TABLE connection (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What a caller of the SCIM server shows. Only a SHA-256 digest is kept: the secrets are 256 random bits,
-- so a slow hash would cost every request and add nothing.
CREATE TABLE credential (
    id TEXT NOT NULL PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    scheme TEXT NOT NULL,
    label TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

-- Keys that sign the access tokens of the server, encrypted with the master key.
CREATE TABLE signing_key (
    id TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- One product instance, with its breaker, which all processes share and `usher status` shows.
CREATE TABLE target (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'up',
    failures INTEGER NOT NULL DEFAULT 0,
    retry_at BIGINT,
    last_error TEXT,
    last_success_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE mapping (
    id TEXT NOT NULL PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (connection_id, target_id)
);

-- Counts changes of connections, targets and mappings, so that a running server notices `usher apply`.
CREATE TABLE configuration (
    id INTEGER NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
);
INSERT INTO configuration (id, generation) VALUES (1, 0);

-- The mirror. `doc` is what the source stated; `search` is the same folded for filters (see scim::fold).
-- A deleted user stays as a tombstone until every target has converged.
CREATE TABLE scim_user (
    id TEXT NOT NULL PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    user_name TEXT NOT NULL,
    user_name_ci TEXT NOT NULL,
    external_id TEXT,
    display_name_ci TEXT,
    active BOOLEAN NOT NULL,
    doc TEXT NOT NULL,
    search TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX scim_user_name ON scim_user (connection_id, user_name_ci) WHERE deleted_at IS NULL;
CREATE INDEX scim_user_list ON scim_user (connection_id, id) WHERE deleted_at IS NULL;
CREATE INDEX scim_user_external ON scim_user (connection_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX scim_user_display ON scim_user (connection_id, display_name_ci);
CREATE INDEX scim_user_modified ON scim_user (connection_id, modified_at);

-- For `emails.value` filters.
CREATE TABLE user_email (
    user_id TEXT NOT NULL REFERENCES scim_user (id) ON DELETE CASCADE,
    value_ci TEXT NOT NULL,
    PRIMARY KEY (user_id, value_ci)
);
CREATE INDEX user_email_value ON user_email (value_ci);

CREATE TABLE scim_group (
    id TEXT NOT NULL PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    display_name TEXT NOT NULL,
    display_name_ci TEXT NOT NULL,
    external_id TEXT,
    doc TEXT NOT NULL,
    search TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX scim_group_name ON scim_group (connection_id, display_name_ci);
CREATE INDEX scim_group_list ON scim_group (connection_id, id);
CREATE INDEX scim_group_external ON scim_group (connection_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX scim_group_modified ON scim_group (connection_id, modified_at);

-- Memberships are rows, never part of a document: adding the 20,000th member costs what the first did.
-- `member_id` is a user or a group, so it has no foreign key; deleting either removes its rows.
CREATE TABLE membership (
    group_id TEXT NOT NULL REFERENCES scim_group (id) ON DELETE CASCADE,
    member_id TEXT NOT NULL,
    member_type TEXT NOT NULL,
    PRIMARY KEY (group_id, member_id)
);
CREATE INDEX membership_member ON membership (member_id, group_id);

-- The ledger: what each target has for each user, and whose it is.
CREATE TABLE account (
    id TEXT NOT NULL PRIMARY KEY,
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES scim_user (id) ON DELETE CASCADE,
    remote_id TEXT,
    username TEXT NOT NULL,
    username_ci TEXT NOT NULL,
    display_name TEXT NOT NULL,
    email TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    owner TEXT NOT NULL,
    standing TEXT NOT NULL,
    in_flight BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    -- What was taken from it and is to be given back (JSON), where a product knows no inactive accounts.
    taken TEXT,
    UNIQUE (target_id, user_id),
    UNIQUE (target_id, remote_id)
);
CREATE INDEX account_username ON account (target_id, username_ci);
CREATE INDEX account_user ON account (user_id);

-- Groups at a target that Usher has used, and whose they are.
CREATE TABLE target_group (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    name_ci TEXT NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (target_id, name_ci)
);

-- The name under which a source group was first used at a target: no Data Center product can rename a group,
-- so a renamed source group goes on under it and keeps the target groups it had. Outlives the source group.
CREATE TABLE group_alias (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    source_group_id TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (target_id, source_group_id)
);

-- Single memberships at a target that Usher made, took over, or found and leaves alone.
CREATE TABLE target_membership (
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    group_ci TEXT NOT NULL,
    group_name TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (account_id, group_ci)
);

-- "This user at this target may be out of step": a level, not an event, so at most one per pair.
-- `generation` counts marks; an item ends only if nothing marked it since it was claimed.
CREATE TABLE work_item (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES scim_user (id) ON DELETE CASCADE,
    connection_id TEXT NOT NULL,
    state TEXT NOT NULL,
    generation BIGINT NOT NULL,
    priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    marked_at BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT,
    last_error TEXT,
    cause TEXT NOT NULL,
    PRIMARY KEY (target_id, user_id)
);
CREATE INDEX work_item_due ON work_item (target_id, state, priority, due_at);
CREATE INDEX work_item_user ON work_item (user_id);

-- Append-only: every operation at a target, and every act of an administrator, with what caused it. Names are
-- copied, so that a row still reads when what it is about is gone. An operation has a target and a user; an act
-- has an actor. `detail` of an operation also holds what was there before, for `usher undo`.
CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT,
    connection_id TEXT,
    target_id TEXT,
    user_id TEXT,
    user_name TEXT,
    operation TEXT NOT NULL,
    detail TEXT NOT NULL,
    outcome TEXT NOT NULL,
    message TEXT,
    cause TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_user ON audit (user_id, at, id);
CREATE INDEX audit_target ON audit (target_id, at, id);

-- What `usher apply` and others made of the configuration, whole, as the file that would make it so again.
CREATE TABLE configuration_version (
    version BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    author TEXT NOT NULL,
    cause TEXT NOT NULL,
    text TEXT NOT NULL
);
