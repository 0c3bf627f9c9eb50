//! The tables, as diesel sees them. `tests/it/store/schema.rs` compares them with what the migrations make.

diesel::table! {
    connection (id) {
        id -> Text,
        name -> Text,
        settings -> Text,
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
    configuration_version (version) {
        version -> BigInt,
        at -> BigInt,
        author -> Text,
        cause -> Text,
        text -> Text,
    }
}

diesel::joinable!(membership -> scim_group (group_id));
diesel::joinable!(credential -> connection (connection_id));
diesel::allow_tables_to_appear_in_same_query!(credential, connection);
diesel::allow_tables_to_appear_in_same_query!(membership, scim_group, scim_user);
diesel::allow_tables_to_appear_in_same_query!(work_item, scim_user, account);
diesel::joinable!(account -> scim_user (user_id));
diesel::allow_tables_to_appear_in_same_query!(user_email, scim_user);
