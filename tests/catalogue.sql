-- What a schema is, beyond what `alembic check` sees: one row a fact, in an order that two databases share.
SELECT * FROM (
    SELECT 'column' AS kind, c.oid::regclass::text AS place, a.attname::text AS name,
        concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
            a.attgenerated::text, a.attidentity::text, a.attstorage::text, pg_get_expr(d.adbin, d.adrelid),
            col_description(c.oid, a.attnum)) AS definition
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'v', 'p')
    UNION ALL
    SELECT 'table', c.oid::regclass::text, '', concat_ws(' ', c.relrowsecurity, c.relforcerowsecurity,
        pg_get_userbyid(c.relowner), c.relacl::text, obj_description(c.oid), c.reloptions::text)
    FROM pg_class c WHERE c.relkind IN ('r', 'v', 'p')
    UNION ALL
    SELECT 'view', c.oid::regclass::text, '', pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relkind = 'v'
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname::text, concat_ws(' ', pg_get_constraintdef(oid), convalidated)
    FROM pg_constraint WHERE contype <> 'n' AND conrelid <> 0
    UNION ALL
    SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    UNION ALL
    SELECT 'policy', polrelid::regclass::text, polname::text, concat_ws(' ', polcmd::text, polpermissive::text,
        (SELECT string_agg(pg_get_userbyid(r), ',' ORDER BY 1) FROM unnest(polroles) r),
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, '', concat_ws(' ', regexp_replace(pg_get_functiondef(p.oid), '\s+', ' ', 'g'),
        p.proacl::text)
    FROM pg_proc p WHERE p.pronamespace = 'carmenta'::regnamespace
    UNION ALL
    SELECT 'schema', nspname::text, '', concat_ws(' ', pg_get_userbyid(nspowner), nspacl::text)
    FROM pg_namespace WHERE nspname IN ('carmenta', 'lab')
) facts
WHERE (place LIKE 'carmenta.%' OR place LIKE 'lab.%' OR kind IN ('function', 'schema'))
AND place NOT LIKE '%.alembic_version' AND place NOT LIKE 'carmenta.embeddings%'
ORDER BY kind, place, name, definition
