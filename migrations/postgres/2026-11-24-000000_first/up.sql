-- The first schema. SQLite and PostgreSQL have the same tables; instants are microseconds since 1970 (UTC),
-- identifiers are text, documents are JSON as text: the same Rust types on both.

-- One identity provider instance.
CREATE TABLE connection (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    -- The last write over SCIM, to the minute.
    pushed_at BIGINT,
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
    -- Set by `usher pause`: since when, by whom and why nothing is written.
    paused_at BIGINT,
    paused_by TEXT,
    pause_reason TEXT,
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
    generation BIGINT NOT NULL,
    -- Of what administrators are told, and how (JSON).
    alerts TEXT
);
INSERT INTO configuration (id, generation) VALUES (1, 0);

-- People who may use the seat. The password is an Argon2id hash in PHC form; `subject` is who somebody is at the
-- identity provider that signs administrators in.
CREATE TABLE admin (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_ci TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password TEXT,
    domain TEXT,
    login TEXT,
    domain_id TEXT,
    disabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    UNIQUE (domain, login)
);

-- Signed-in browsers. Only a digest of the cookie is kept.
CREATE TABLE session (
    digest TEXT NOT NULL PRIMARY KEY,
    admin_id TEXT NOT NULL REFERENCES admin (id) ON DELETE CASCADE,
    agent TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX session_admin ON session (admin_id);

-- What programs show at the admin API. Only a digest is kept.
CREATE TABLE api_token (
    id TEXT NOT NULL PRIMARY KEY,
    label TEXT NOT NULL,
    role TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

-- Failed sign-ins by name and by address, shared by all servers.
CREATE TABLE lockout (
    key TEXT NOT NULL PRIMARY KEY,
    failures INTEGER NOT NULL,
    last_at BIGINT NOT NULL,
    until BIGINT
);

-- The code with which the first administrator is made: there is one row while there is no administrator.
CREATE TABLE setup_code (
    digest TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

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
    deleted_at BIGINT,
    -- Whether the domain grants the application to the user, where only that counts.
    granted BOOLEAN NOT NULL DEFAULT TRUE,
    -- Whether a push made the user; a pull makes users too.
    pushed BOOLEAN NOT NULL DEFAULT TRUE,
    -- On a tombstone: a push took the user away, so that a pull must not bring it back.
    revoked BOOLEAN NOT NULL DEFAULT FALSE,
    -- Somebody at the seat has nothing written for this person, anywhere.
    paused_at BIGINT,
    paused_by TEXT,
    pause_reason TEXT
);
CREATE INDEX scim_user_paused ON scim_user (user_name_ci, id) WHERE paused_at IS NOT NULL;
CREATE UNIQUE INDEX scim_user_name ON scim_user (connection_id, user_name_ci) WHERE deleted_at IS NULL;
CREATE INDEX scim_user_gone ON scim_user (connection_id, user_name_ci) WHERE deleted_at IS NOT NULL;
CREATE INDEX scim_user_list ON scim_user (connection_id, id) WHERE deleted_at IS NULL;
CREATE INDEX scim_user_tombstone ON scim_user (connection_id, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX scim_user_external ON scim_user (connection_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX scim_user_display ON scim_user (connection_id, display_name_ci);
CREATE INDEX scim_user_modified ON scim_user (connection_id, modified_at);
CREATE INDEX scim_user_not_granted ON scim_user (connection_id, id) WHERE NOT granted;

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
    -- The run that saw it last, of those that had to look.
    seen_run BIGINT NOT NULL DEFAULT 0,
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
    -- Since when the person is not wanted at the target: the grace period before a deletion counts from here.
    unwanted_since BIGINT,
    -- What was taken from it and is to be given back (JSON), where a product knows no inactive accounts.
    taken TEXT,
    UNIQUE (target_id, user_id),
    UNIQUE (target_id, remote_id)
);
CREATE INDEX account_username ON account (target_id, username_ci);
CREATE INDEX account_user ON account (user_id);
CREATE INDEX account_active ON account (target_id) WHERE active;

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
CREATE INDEX target_membership_group ON target_membership (group_ci);

-- The default groups that an account was given when Usher made it. They stay wanted, and outlive the membership
-- itself: whoever comes back gets them again.
CREATE TABLE given_group (
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    group_ci TEXT NOT NULL,
    group_name TEXT NOT NULL,
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
    -- In shadow mode: the names of the operations that would be done, as `usher apply` counts them.
    backlog TEXT,
    cause TEXT NOT NULL,
    PRIMARY KEY (target_id, user_id)
);
CREATE INDEX work_item_due ON work_item (target_id, state, priority, due_at);
CREATE INDEX work_item_user ON work_item (user_id);

-- Brakes. A removal is a deactivation, a deletion or the end of a membership; `subject` is who it happens to
-- (the user's id, or another name for somebody who is not in the mirror), `group_ci` is empty for accounts.
-- One row for each removal done or reserved, written before it is done: what a brake counts. Rows older than
-- any window are removed.
CREATE TABLE removal (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    group_ci TEXT NOT NULL,
    at BIGINT NOT NULL,
    counted BOOLEAN NOT NULL,
    PRIMARY KEY (target_id, kind, subject, group_ci)
);
CREATE INDEX removal_at ON removal (target_id, kind, at);

-- One brake: of a whole target (`group_ci` empty) or of one group there. `last_at` is when it last had to hold
-- something. The row is also the lock under which removals of its kind are counted.
CREATE TABLE brake (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    group_ci TEXT NOT NULL,
    tripped_at BIGINT,
    last_at BIGINT,
    reason TEXT NOT NULL,
    PRIMARY KEY (target_id, kind, group_ci)
);

-- One removal that a brake holds, or that a person has decided about. It ends when it is done, or when it is
-- not wanted any more. `basis` is why it was wanted; a decision against it is about that alone. `gives_back` is
-- set by an undo: what is held was given back before, and was this one's (`created`, `adopted`, `foreign`). Such a
-- hold stands whether or not there is a brake.
CREATE TABLE hold (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    group_ci TEXT NOT NULL,
    group_name TEXT NOT NULL,
    user_id TEXT REFERENCES scim_user (id) ON DELETE CASCADE,
    connection_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    state TEXT NOT NULL,
    basis TEXT NOT NULL,
    since BIGINT NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    decided_by TEXT,
    decided_at BIGINT,
    gives_back TEXT,
    PRIMARY KEY (target_id, subject, kind, group_ci)
);
CREATE INDEX hold_state ON hold (target_id, state, kind);
CREATE INDEX hold_user ON hold (user_id);

-- "Somebody may be in this group whom the source does not have in it": a level, kept from one look to the next.
-- `due_at` is when its members are compared next, `removed` holds the keys of accounts that the last look took
-- out and that are checked once more, `note` what it found.
CREATE TABLE group_item (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    group_ci TEXT NOT NULL,
    group_name TEXT NOT NULL,
    generation BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT,
    removed TEXT NOT NULL,
    note TEXT,
    cause TEXT NOT NULL,
    PRIMARY KEY (target_id, group_ci)
);
CREATE INDEX group_item_due ON group_item (target_id, due_at);

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
CREATE INDEX audit_user ON audit (user_id, target_id, at, id);
CREATE INDEX audit_target ON audit (target_id, at, id);

-- What `usher apply` and others made of the configuration, whole, as the file that would make it so again.
CREATE TABLE configuration_version (
    version BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    author TEXT NOT NULL,
    cause TEXT NOT NULL,
    text TEXT NOT NULL
);

-- What a pull knows of a user: which one it is in the domain, what was read last (`digest`, and the names of
-- the attributes in it), the version of the mirror that this stands for, and the run that saw it last.
CREATE TABLE source_user (
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    source_id TEXT NOT NULL,
    user_id TEXT NOT NULL UNIQUE REFERENCES scim_user (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    stated TEXT NOT NULL,
    version BIGINT NOT NULL,
    seen_run BIGINT NOT NULL,
    PRIMARY KEY (connection_id, source_id)
);

-- The same of a group. `digest` is over its members as the domain listed them; `unresolved` counts those that
-- the mirror did not have at the time of `digest_run`.
CREATE TABLE source_group (
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    source_id TEXT NOT NULL,
    group_id TEXT NOT NULL UNIQUE REFERENCES scim_group (id) ON DELETE CASCADE,
    modified TEXT NOT NULL,
    digest TEXT NOT NULL,
    version BIGINT NOT NULL,
    unresolved BIGINT NOT NULL,
    digest_run BIGINT NOT NULL,
    seen_run BIGINT NOT NULL,
    PRIMARY KEY (connection_id, source_id)
);

-- Whom the domain grants the application to, as the last complete reading said.
CREATE TABLE source_grant (
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    grantee TEXT NOT NULL,
    seen_run BIGINT NOT NULL,
    PRIMARY KEY (connection_id, grantee)
);

-- The state of pulling, one row for each connection that is read. The lease keeps runs apart, also those of
-- several replicas. `watermark` is where the next incremental run begins. The refresh token is encrypted.
CREATE TABLE pull (
    connection_id TEXT NOT NULL PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
    lease_owner TEXT,
    lease_until BIGINT,
    last_number BIGINT NOT NULL,
    scheduled_at BIGINT,
    full_at BIGINT,
    watermark BIGINT,
    newest_user_run BIGINT NOT NULL,
    refresh_token TEXT,
    -- Until when one process alone uses the refresh token: a domain may take each one only once.
    refresh_until BIGINT
);

-- Consents that administrators began and that the domain has not answered yet. Each is good once, for ten
-- minutes. `state` and `browser` are digests, `verifier` is encrypted.
CREATE TABLE consent (
    state TEXT NOT NULL PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    verifier TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    browser TEXT,
    actor TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- One pass of the reconciler over a connection.
CREATE TABLE run (
    id TEXT NOT NULL PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    cause TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    message TEXT,
    counts TEXT NOT NULL,
    -- How far a run under way is; JSON.
    progress TEXT
);
CREATE INDEX run_connection ON run (connection_id, number);

-- After a full run each target is compared with the ledger: somebody may have changed accounts there by hand.
-- A row for each comparison that a run asked for; `due_at` is empty when it has ended.
CREATE TABLE comparison (
    run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    connection_id TEXT NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    due_at BIGINT,
    attempts INTEGER NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT,
    counts TEXT NOT NULL,
    note TEXT,
    PRIMARY KEY (run_id, target_id)
);
CREATE INDEX comparison_due ON comparison (target_id, due_at);

-- An account that is not as Usher left it, and that a person has to decide about, or has. `differences` and `would`
-- are lists of words (JSON): what differs, and what would be done to put it right. A decision to accept is about
-- these very differences.
CREATE TABLE drift (
    target_id TEXT NOT NULL REFERENCES target (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES scim_user (id) ON DELETE CASCADE,
    user_name TEXT NOT NULL,
    differences TEXT NOT NULL,
    would TEXT NOT NULL,
    has_access BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    since BIGINT NOT NULL,
    decided_by TEXT,
    decided_at BIGINT,
    PRIMARY KEY (target_id, user_id)
);
CREATE INDEX drift_user ON drift (user_id);

-- What a run changed, a line for each user or group.
CREATE TABLE run_result (
    id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    subject_id TEXT,
    change TEXT NOT NULL,
    detail TEXT NOT NULL,
    missed_push BOOLEAN NOT NULL
);
CREATE INDEX run_result_run ON run_result (run_id, id);

-- Work that one server does for all that share the database.
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- What was found to be wrong, a row for each way in which it is told. A row ends when it was told that it is over.
CREATE TABLE alert (
    key TEXT NOT NULL,
    channel TEXT NOT NULL,
    stage INTEGER NOT NULL,
    text TEXT NOT NULL,
    since BIGINT NOT NULL,
    told_at BIGINT,
    ended_at BIGINT,
    PRIMARY KEY (key, channel)
);

-- Secrets that somebody typed at the seat, encrypted with the master key, each bound to its name. Settings refer
-- to them by name.
CREATE TABLE secret (
    name TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
