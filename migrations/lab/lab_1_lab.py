"""What is measured, and what a loader remembers: datasets, users, queries, judgements, runs, hits, scores."""

from alembic import op

revision = "lab_1"
down_revision = None
branch_labels = ("lab",)


def upgrade() -> None:
    op.execute("GRANT USAGE ON SCHEMA lab TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE lab.datasets (
            id UUID NOT NULL,
            name TEXT NOT NULL,
            origin TEXT NOT NULL,
            content_hash TEXT,
            counts JSONB DEFAULT '{}' NOT NULL,
            held JSONB DEFAULT '{}' NOT NULL,
            loaded_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_datasets PRIMARY KEY (id),
            CONSTRAINT uq_datasets_name UNIQUE (name)
        )
        """
    )
    op.execute("COMMENT ON TABLE lab.datasets IS 'A folder that was loaded, and in which state.'")
    op.execute("COMMENT ON COLUMN lab.datasets.name IS 'The namespace of its ids.'")
    op.execute("COMMENT ON COLUMN lab.datasets.origin IS 'The folder it was loaded from.'")
    op.execute(
        r"""
        COMMENT ON COLUMN lab.datasets.content_hash IS 'sha256 of its files; null while a load is under way.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN lab.datasets.held IS 'What the tables had and lacked of it when its load ended: a load that finds less writes it again.'
        """
    )
    op.execute("GRANT SELECT ON lab.datasets TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE lab.users (
            dataset_id UUID NOT NULL,
            user_id UUID NOT NULL,
            external_id TEXT NOT NULL,
            CONSTRAINT pk_users PRIMARY KEY (dataset_id, user_id),
            CONSTRAINT uq_users_dataset_id_external_id UNIQUE (dataset_id, external_id),
            CONSTRAINT fk_users_dataset_id FOREIGN KEY(dataset_id) REFERENCES lab.datasets (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_users_external_id ON lab.users (external_id)")
    op.execute("CREATE INDEX ix_users_user ON lab.users (user_id)")
    op.execute("COMMENT ON TABLE lab.users IS 'A user that a dataset brought, and the id it gave.'")
    op.execute("COMMENT ON COLUMN lab.users.user_id IS 'In carmenta.users, unless erased since.'")
    op.execute("COMMENT ON COLUMN lab.users.external_id IS 'As the dataset gives it.'")
    op.execute(
        r"""
        CREATE TABLE lab.queries (
            dataset_id UUID NOT NULL,
            query_id TEXT NOT NULL,
            user_id UUID NOT NULL,
            content TEXT NOT NULL,
            position INTEGER NOT NULL,
            category TEXT DEFAULT '' NOT NULL,
            asked_at TIMESTAMP WITH TIME ZONE,
            answers TEXT[] DEFAULT '{}' NOT NULL,
            language TEXT DEFAULT 'en' NOT NULL,
            CONSTRAINT pk_queries PRIMARY KEY (dataset_id, query_id),
            CONSTRAINT fk_queries_dataset_id FOREIGN KEY(dataset_id) REFERENCES lab.datasets (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_queries_user ON lab.queries (user_id)")
    op.execute("COMMENT ON TABLE lab.queries IS 'A question of a dataset.'")
    op.execute("COMMENT ON COLUMN lab.queries.query_id IS 'As the dataset gives it.'")
    op.execute("COMMENT ON COLUMN lab.queries.position IS 'Line in its file.'")
    op.execute(
        r"""
        CREATE TABLE lab.qrels (
            dataset_id UUID NOT NULL,
            query_id TEXT NOT NULL,
            source_id UUID NOT NULL,
            source_kind TEXT NOT NULL,
            relevance INTEGER NOT NULL,
            CONSTRAINT pk_qrels PRIMARY KEY (dataset_id, query_id, source_id),
            CONSTRAINT ck_qrels_relevance CHECK (relevance >= 0),
            CONSTRAINT ck_qrels_source_kind CHECK (source_kind IN ('message', 'memory', 'document')),
            CONSTRAINT fk_qrels_dataset_id FOREIGN KEY(dataset_id) REFERENCES lab.datasets (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("COMMENT ON TABLE lab.qrels IS 'How relevant one source is to one question.'")
    op.execute("COMMENT ON COLUMN lab.qrels.relevance IS '0 = not relevant; larger is better.'")
    op.execute(
        r"""
        CREATE TABLE lab.loaded (
            dataset_id UUID NOT NULL,
            table_name TEXT NOT NULL,
            user_id UUID NOT NULL,
            row_id UUID NOT NULL,
            other_id UUID NOT NULL,
            CONSTRAINT pk_loaded PRIMARY KEY (dataset_id, table_name, user_id, row_id, other_id),
            CONSTRAINT fk_loaded_dataset_id FOREIGN KEY(dataset_id) REFERENCES lab.datasets (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_loaded_user ON lab.loaded (user_id)")
    op.execute(
        r"""
        COMMENT ON TABLE lab.loaded IS 'What a dataset put into a table that does not keep where its rows come from.'
        """
    )
    op.execute("COMMENT ON COLUMN lab.loaded.table_name IS 'Of the product.'")
    op.execute("COMMENT ON COLUMN lab.loaded.row_id IS 'First column of its key after the user.'")
    op.execute("COMMENT ON COLUMN lab.loaded.other_id IS 'The second one; the first again where it is all.'")
    op.execute(
        r"""
        CREATE TABLE lab.runs (
            id INTEGER GENERATED ALWAYS AS IDENTITY,
            dataset_id UUID NOT NULL,
            strategy TEXT NOT NULL,
            config TEXT NOT NULL,
            circumstances JSONB NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_runs PRIMARY KEY (id),
            CONSTRAINT fk_runs_dataset_id FOREIGN KEY(dataset_id) REFERENCES lab.datasets (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_runs_dataset_id ON lab.runs (dataset_id)")
    op.execute("COMMENT ON TABLE lab.runs IS 'One strategy over the questions of one dataset.'")
    op.execute("COMMENT ON COLUMN lab.runs.config IS 'The strategy as printed: all its parameters.'")
    op.execute("GRANT SELECT ON lab.runs TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE lab.hits (
            run_id INTEGER NOT NULL,
            query_id TEXT NOT NULL,
            rank INTEGER NOT NULL,
            source_id UUID NOT NULL,
            source_kind TEXT NOT NULL,
            score DOUBLE PRECISION NOT NULL,
            parts JSONB NOT NULL,
            CONSTRAINT pk_hits PRIMARY KEY (run_id, query_id, rank),
            CONSTRAINT fk_hits_run_id FOREIGN KEY(run_id) REFERENCES lab.runs (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("COMMENT ON TABLE lab.hits IS 'One hit of a run.'")
    op.execute("COMMENT ON COLUMN lab.hits.rank IS 'From 1.'")
    op.execute("COMMENT ON COLUMN lab.hits.source_id IS 'Passages may be cut anew; what they stand for stays.'")
    op.execute("COMMENT ON COLUMN lab.hits.score IS 'Larger is better.'")
    op.execute("COMMENT ON COLUMN lab.hits.parts IS 'The score of every part, by the part''s name.'")
    op.execute(
        r"""
        CREATE TABLE lab.scores (
            run_id INTEGER NOT NULL,
            query_id TEXT NOT NULL,
            measure TEXT NOT NULL,
            value DOUBLE PRECISION NOT NULL,
            CONSTRAINT pk_scores PRIMARY KEY (run_id, query_id, measure),
            CONSTRAINT fk_scores_run_id FOREIGN KEY(run_id) REFERENCES lab.runs (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("COMMENT ON TABLE lab.scores IS 'The value of one measure for one question of a run.'")
    op.execute("GRANT SELECT ON lab.scores TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP TABLE lab.scores")
    op.execute("DROP TABLE lab.hits")
    op.execute("DROP TABLE lab.users")
    op.execute("DROP TABLE lab.runs")
    op.execute("DROP TABLE lab.queries")
    op.execute("DROP TABLE lab.qrels")
    op.execute("DROP TABLE lab.loaded")
    op.execute("DROP TABLE lab.datasets")
    op.execute("REVOKE USAGE ON SCHEMA lab FROM carmenta_app")
