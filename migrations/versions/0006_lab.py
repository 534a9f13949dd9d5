"""What is measured: datasets, their queries and judgements, runs, hits and scores. Not part of the product."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UP = (
    "CREATE SCHEMA lab",
    "GRANT USAGE ON SCHEMA lab TO carmenta_app",
    """
    CREATE TABLE lab.datasets (
        id UUID NOT NULL,
        name TEXT NOT NULL,
        origin TEXT NOT NULL,
        content_hash TEXT,
        counts JSONB DEFAULT '{}' NOT NULL,
        loaded_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_datasets PRIMARY KEY (id),
        CONSTRAINT uq_datasets_name UNIQUE (name)
    )
    """,
    "COMMENT ON TABLE lab.datasets IS 'A folder that was loaded, and in which state.'",
    "COMMENT ON COLUMN lab.datasets.name IS 'The namespace of its ids.'",
    "COMMENT ON COLUMN lab.datasets.origin IS 'The folder it was loaded from.'",
    "COMMENT ON COLUMN lab.datasets.content_hash IS 'sha256 of its files; null while a load is under way.'",
    "GRANT SELECT ON lab.datasets TO carmenta_app",
    """
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
    """,
    "COMMENT ON TABLE lab.qrels IS 'How relevant one source is to one question.'",
    "COMMENT ON COLUMN lab.qrels.relevance IS '0 = not relevant; larger is better.'",
    """
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
        CONSTRAINT fk_queries_dataset_id FOREIGN KEY(dataset_id) REFERENCES lab.datasets (id) ON DELETE CASCADE,
        CONSTRAINT fk_queries_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_queries_user ON lab.queries (user_id)",
    "COMMENT ON TABLE lab.queries IS 'A question of a dataset.'",
    "COMMENT ON COLUMN lab.queries.query_id IS 'As the dataset gives it.'",
    "COMMENT ON COLUMN lab.queries.position IS 'Line in its file.'",
    """
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
    """,
    "CREATE INDEX ix_runs_dataset_id ON lab.runs (dataset_id)",
    "COMMENT ON TABLE lab.runs IS 'One strategy over the questions of one dataset.'",
    "COMMENT ON COLUMN lab.runs.config IS 'The strategy as printed: all its parameters.'",
    "GRANT SELECT ON lab.runs TO carmenta_app",
    """
    CREATE TABLE lab.hits (
        run_id INTEGER NOT NULL,
        query_id TEXT NOT NULL,
        rank INTEGER NOT NULL,
        passage_id UUID NOT NULL,
        source_id UUID NOT NULL,
        source_kind TEXT NOT NULL,
        score DOUBLE PRECISION NOT NULL,
        parts JSONB NOT NULL,
        CONSTRAINT pk_hits PRIMARY KEY (run_id, query_id, rank),
        CONSTRAINT fk_hits_run_id FOREIGN KEY(run_id) REFERENCES lab.runs (id) ON DELETE CASCADE
    )
    """,
    "COMMENT ON TABLE lab.hits IS 'One hit of a run.'",
    "COMMENT ON COLUMN lab.hits.rank IS 'From 1.'",
    "COMMENT ON COLUMN lab.hits.score IS 'Larger is better.'",
    "COMMENT ON COLUMN lab.hits.parts IS 'The score of every part, by the part''s name.'",
    """
    CREATE TABLE lab.scores (
        run_id INTEGER NOT NULL,
        query_id TEXT NOT NULL,
        measure TEXT NOT NULL,
        value DOUBLE PRECISION NOT NULL,
        CONSTRAINT pk_scores PRIMARY KEY (run_id, query_id, measure),
        CONSTRAINT fk_scores_run_id FOREIGN KEY(run_id) REFERENCES lab.runs (id) ON DELETE CASCADE
    )
    """,
    "COMMENT ON TABLE lab.scores IS 'The value of one measure for one question of a run.'",
    "GRANT SELECT ON lab.scores TO carmenta_app",
)

DOWN = (
    "DROP TABLE lab.scores",
    "DROP TABLE lab.hits",
    "DROP TABLE lab.runs",
    "DROP TABLE lab.queries",
    "DROP TABLE lab.qrels",
    "DROP TABLE lab.datasets",
    "DROP SCHEMA lab",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
