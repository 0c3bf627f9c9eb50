//! The tables, as diesel sees them. `tests/it/store/schema.rs` compares them with what the migrations make.

diesel::table! {
    alert (key, channel) {
        key -> Text,
        channel -> Text,
        stage -> Integer,
        text -> Text,
        since -> BigInt,
        told_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    lease (name) {
        name -> Text,
        owner -> Text,
        until -> BigInt,
    }
}

diesel::table! {
    connection (id) {
        id -> Text,
        name -> Text,
        settings -> Text,
        pushed_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    credential (id) {
        id -> Text,
        connection_id -> Text,
        scheme -> Text,
        label -> Text,
        digest -> Text,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    signing_key (id) {
        id -> Text,
        sealed -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    target (id) {
        id -> Text,
        name -> Text,
        settings -> Text,
        state -> Text,
        failures -> Integer,
        retry_at -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        last_success_at -> Nullable<BigInt>,
        paused_at -> Nullable<BigInt>,
        paused_by -> Nullable<Text>,
        pause_reason -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    mapping (id) {
        id -> Text,
        connection_id -> Text,
        target_id -> Text,
        settings -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    configuration (id) {
        id -> Integer,
        generation -> BigInt,
        alerts -> Nullable<Text>,
    }
}

diesel::table! {
    scim_user (id) {
        id -> Text,
        connection_id -> Text,
        user_name -> Text,
        user_name_ci -> Text,
        external_id -> Nullable<Text>,
        display_name_ci -> Nullable<Text>,
        active -> Bool,
        doc -> Text,
        search -> Text,
        version -> BigInt,
        created_at -> BigInt,
        modified_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
        granted -> Bool,
        pushed -> Bool,
        revoked -> Bool,
        paused_at -> Nullable<BigInt>,
        paused_by -> Nullable<Text>,
        pause_reason -> Nullable<Text>,
    }
}

diesel::table! {
    user_email (user_id, value_ci) {
        user_id -> Text,
        value_ci -> Text,
    }
}

diesel::table! {
    scim_group (id) {
        id -> Text,
        connection_id -> Text,
        display_name -> Text,
        display_name_ci -> Text,
        external_id -> Nullable<Text>,
        doc -> Text,
        search -> Text,
        version -> BigInt,
        created_at -> BigInt,
        modified_at -> BigInt,
    }
}

diesel::table! {
    membership (group_id, member_id) {
        group_id -> Text,
        member_id -> Text,
        member_type -> Text,
        seen_run -> BigInt,
    }
}

diesel::table! {
    account (id) {
        id -> Text,
        target_id -> Text,
        user_id -> Text,
        remote_id -> Nullable<Text>,
        username -> Text,
        username_ci -> Text,
        display_name -> Text,
        email -> Text,
        active -> Bool,
        owner -> Text,
        standing -> Text,
        in_flight -> Bool,
        updated_at -> BigInt,
        unwanted_since -> Nullable<BigInt>,
        taken -> Nullable<Text>,
    }
}

diesel::table! {
    target_group (target_id, name_ci) {
        target_id -> Text,
        name_ci -> Text,
        name -> Text,
        owner -> Text,
    }
}

diesel::table! {
    group_alias (target_id, source_group_id) {
        target_id -> Text,
        source_group_id -> Text,
        name -> Text,
    }
}

diesel::table! {
    target_membership (account_id, group_ci) {
        account_id -> Text,
        group_ci -> Text,
        group_name -> Text,
        owner -> Text,
    }
}

diesel::table! {
    given_group (account_id, group_ci) {
        account_id -> Text,
        group_ci -> Text,
        group_name -> Text,
    }
}

diesel::table! {
    work_item (target_id, user_id) {
        target_id -> Text,
        user_id -> Text,
        connection_id -> Text,
        state -> Text,
        generation -> BigInt,
        priority -> Integer,
        attempts -> Integer,
        due_at -> BigInt,
        marked_at -> BigInt,
        lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        backlog -> Nullable<Text>,
        cause -> Text,
    }
}

diesel::table! {
    removal (target_id, kind, subject, group_ci) {
        target_id -> Text,
        kind -> Text,
        subject -> Text,
        group_ci -> Text,
        at -> BigInt,
        counted -> Bool,
    }
}

diesel::table! {
    brake (target_id, kind, group_ci) {
        target_id -> Text,
        kind -> Text,
        group_ci -> Text,
        tripped_at -> Nullable<BigInt>,
        last_at -> Nullable<BigInt>,
        reason -> Text,
    }
}

diesel::table! {
    hold (target_id, subject, kind, group_ci) {
        target_id -> Text,
        kind -> Text,
        subject -> Text,
        group_ci -> Text,
        group_name -> Text,
        user_id -> Nullable<Text>,
        connection_id -> Text,
        user_name -> Text,
        state -> Text,
        basis -> Text,
        since -> BigInt,
        cause -> Text,
        reason -> Text,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<BigInt>,
        gives_back -> Nullable<Text>,
    }
}

diesel::table! {
    group_item (target_id, group_ci) {
        target_id -> Text,
        group_ci -> Text,
        group_name -> Text,
        generation -> BigInt,
        attempts -> Integer,
        due_at -> BigInt,
        lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        removed -> Text,
        note -> Nullable<Text>,
        cause -> Text,
    }
}

diesel::table! {
    audit (id) {
        id -> Text,
        at -> BigInt,
        actor -> Nullable<Text>,
        connection_id -> Nullable<Text>,
        target_id -> Nullable<Text>,
        user_id -> Nullable<Text>,
        user_name -> Nullable<Text>,
        operation -> Text,
        detail -> Text,
        outcome -> Text,
        message -> Nullable<Text>,
        cause -> Text,
    }
}

diesel::table! {
    source_user (connection_id, source_id) {
        connection_id -> Text,
        source_id -> Text,
        user_id -> Text,
        digest -> Text,
        stated -> Text,
        version -> BigInt,
        seen_run -> BigInt,
    }
}

diesel::table! {
    source_group (connection_id, source_id) {
        connection_id -> Text,
        source_id -> Text,
        group_id -> Text,
        modified -> Text,
        digest -> Text,
        version -> BigInt,
        unresolved -> BigInt,
        digest_run -> BigInt,
        seen_run -> BigInt,
    }
}

diesel::table! {
    source_grant (connection_id, grantee) {
        connection_id -> Text,
        grantee -> Text,
        seen_run -> BigInt,
    }
}

diesel::table! {
    pull (connection_id) {
        connection_id -> Text,
        lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        last_number -> BigInt,
        scheduled_at -> Nullable<BigInt>,
        full_at -> Nullable<BigInt>,
        watermark -> Nullable<BigInt>,
        newest_user_run -> BigInt,
        refresh_token -> Nullable<Text>,
        refresh_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    consent (state) {
        state -> Text,
        connection_id -> Text,
        verifier -> Text,
        redirect_uri -> Text,
        browser -> Nullable<Text>,
        actor -> Text,
        expires_at -> BigInt,
    }
}

diesel::table! {
    run (id) {
        id -> Text,
        connection_id -> Text,
        number -> BigInt,
        kind -> Text,
        cause -> Text,
        state -> Text,
        started_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        message -> Nullable<Text>,
        counts -> Text,
        progress -> Nullable<Text>,
    }
}

diesel::table! {
    secret (name) {
        name -> Text,
        sealed -> Text,
        updated_at -> BigInt,
    }
}

diesel::table! {
    run_result (id) {
        id -> Text,
        run_id -> Text,
        subject -> Text,
        subject_id -> Nullable<Text>,
        change -> Text,
        detail -> Text,
        missed_push -> Bool,
    }
}

diesel::table! {
    comparison (run_id, target_id) {
        run_id -> Text,
        target_id -> Text,
        connection_id -> Text,
        due_at -> Nullable<BigInt>,
        attempts -> Integer,
        lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        counts -> Text,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    drift (target_id, user_id) {
        target_id -> Text,
        user_id -> Text,
        user_name -> Text,
        differences -> Text,
        would -> Text,
        has_access -> Bool,
        state -> Text,
        since -> BigInt,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<BigInt>,
    }
}

diesel::joinable!(source_user -> scim_user (user_id));
diesel::allow_tables_to_appear_in_same_query!(source_user, scim_user);
diesel::allow_tables_to_appear_in_same_query!(drift, scim_user);
diesel::allow_tables_to_appear_in_same_query!(target_membership, scim_user);
diesel::joinable!(source_group -> scim_group (group_id));
diesel::allow_tables_to_appear_in_same_query!(source_group, scim_group);
diesel::allow_tables_to_appear_in_same_query!(source_group, membership);

diesel::table! {
    configuration_version (version) {
        version -> BigInt,
        at -> BigInt,
        author -> Text,
        cause -> Text,
        text -> Text,
    }
}

diesel::table! {
    admin (id) {
        id -> Text,
        name -> Text,
        name_ci -> Text,
        role -> Text,
        password -> Nullable<Text>,
        domain -> Nullable<Text>,
        login -> Nullable<Text>,
        domain_id -> Nullable<Text>,
        disabled -> Bool,
        created_at -> BigInt,
        signed_in_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    session (digest) {
        digest -> Text,
        admin_id -> Text,
        agent -> Text,
        created_at -> BigInt,
        seen_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    api_token (id) {
        id -> Text,
        label -> Text,
        role -> Text,
        digest -> Text,
        created_by -> Text,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    lockout (key) {
        key -> Text,
        failures -> Integer,
        last_at -> BigInt,
        until -> Nullable<BigInt>,
    }
}

diesel::table! {
    setup_code (digest) {
        digest -> Text,
        created_at -> BigInt,
    }
}

diesel::joinable!(session -> admin (admin_id));
diesel::allow_tables_to_appear_in_same_query!(session, admin);
diesel::joinable!(membership -> scim_group (group_id));
diesel::joinable!(credential -> connection (connection_id));
diesel::joinable!(scim_user -> connection (connection_id));
diesel::allow_tables_to_appear_in_same_query!(scim_user, connection);
diesel::allow_tables_to_appear_in_same_query!(user_email, connection);
diesel::allow_tables_to_appear_in_same_query!(credential, connection);
diesel::allow_tables_to_appear_in_same_query!(membership, scim_group, scim_user);
diesel::allow_tables_to_appear_in_same_query!(work_item, scim_user, account);
diesel::joinable!(account -> scim_user (user_id));
diesel::joinable!(target_membership -> account (account_id));
diesel::allow_tables_to_appear_in_same_query!(target_membership, account, target_group);
diesel::allow_tables_to_appear_in_same_query!(user_email, scim_user);
diesel::allow_tables_to_appear_in_same_query!(account, removal);
diesel::joinable!(scim_group -> connection (connection_id));
diesel::allow_tables_to_appear_in_same_query!(scim_group, connection);
diesel::allow_tables_to_appear_in_same_query!(membership, account);
diesel::allow_tables_to_appear_in_same_query!(membership, target_membership);
diesel::allow_tables_to_appear_in_same_query!(membership, target);
diesel::allow_tables_to_appear_in_same_query!(account, target);
diesel::allow_tables_to_appear_in_same_query!(target_membership, target);
diesel::allow_columns_to_appear_in_same_group_by_clause!(
    target::name,
    target_membership::group_name
);
