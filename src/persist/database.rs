//! One way to speak to SQLite and PostgreSQL: the same SQL, values of three kinds.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ColumnIndex, Connection as _, Decode, Row as _, Type};

use super::coding::storable;
use super::error::PersistError;

/// A session with the database.
pub(super) enum Connection {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

/// Which SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// What is bound to `$1`, `$2`, …
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(i64),
    Text(Option<Arc<str>>),
    Bytes(Option<Vec<u8>>),
}

/// One row of an answer, asked by column.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// How long a session of PostgreSQL waits for another one's commit.
const LOCK_TIMEOUT_MS: u32 = 1_500;

/// Serialises the commits of all instances, so that who sees a revision sees all before it.
// The first number marks our locks, the second tells deployments in several schemas of one database apart.
const BEGIN_WRITING_POSTGRES: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {timeout}; \
     SELECT pg_advisory_xact_lock(1347179603, hashtext(current_schema() || '/commit'))";

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(Some(storable(text.into())))
    }

    pub fn maybe_text(text: Option<&str>) -> Value {
        text.map_or(Value::Text(None), Value::text)
    }

    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Bytes(Some(bytes.to_vec()))
    }
}

macro_rules! query {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql.into()));
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

/// A statement with its values.
pub(super) enum Bound {
    Sqlite(sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>),
    Postgres(sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>),
}

impl Bound {
    pub fn new(dialect: Dialect, sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Bound {
        match dialect {
            Dialect::Sqlite => Bound::Sqlite(query!(sql, values)),
            Dialect::Postgres => Bound::Postgres(query!(sql, values)),
        }
    }
}

impl Connection {
    pub fn dialect(&self) -> Dialect {
        match self {
            Connection::Sqlite(_) => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs one statement with values.
    pub async fn execute(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        values: Vec<Value>,
    ) -> Result<u64, PersistError> {
        let bound = Bound::new(self.dialect(), sql, values);
        self.run(bound).await
    }

    /// Runs one statement whose values are bound already.
    pub async fn run(&mut self, bound: Bound) -> Result<u64, PersistError> {
        Ok(match (self, bound) {
            (Connection::Sqlite(connection), Bound::Sqlite(query)) => {
                query.execute(&mut **connection).await?.rows_affected()
            }
            (Connection::Postgres(connection), Bound::Postgres(query)) => {
                query.execute(&mut **connection).await?.rows_affected()
            }
            _ => unreachable!("a statement is bound for the database that it is run on"),
        })
    }

    /// Runs statements without values.
    pub async fn script(&mut self, sql: Cow<'static, str>) -> Result<(), PersistError> {
        match self {
            Connection::Sqlite(connection) => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection).await?;
            }
            Connection::Postgres(connection) => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }

    /// Asks for rows.
    pub async fn rows(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, PersistError> {
        let mut rows = Vec::new();
        self.each_row(sql, values, |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Asks for more rows than should be held at once.
    pub async fn each_row(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        values: Vec<Value>,
        mut take: impl FnMut(Row) -> Result<(), PersistError>,
    ) -> Result<(), PersistError> {
        match self {
            Connection::Sqlite(connection) => {
                let mut rows = query!(sql, values).fetch(&mut **connection);
                while let Some(row) = rows.try_next().await? {
                    take(Row::Sqlite(row))?;
                }
            }
            Connection::Postgres(connection) => {
                let mut rows = query!(sql, values).fetch(&mut **connection);
                while let Some(row) = rows.try_next().await? {
                    take(Row::Postgres(row))?;
                }
            }
        }
        Ok(())
    }

    /// Begins a transaction that no other writer's comes between.
    pub async fn begin_writing(&mut self) -> Result<(), PersistError> {
        match self {
            Connection::Sqlite(_) => self.script("BEGIN IMMEDIATE".into()).await,
            Connection::Postgres(_) => {
                let sql = BEGIN_WRITING_POSTGRES.replace("{timeout}", &LOCK_TIMEOUT_MS.to_string());
                let begun = self.script(sql.into()).await;
                if begun.is_err() {
                    // Waiting too long leaves a transaction that can do nothing more.
                    self.script("ROLLBACK".into()).await?;
                }
                begun
            }
        }
    }

    /// Begins a transaction that sees one revision.
    pub async fn begin_reading(&mut self) -> Result<(), PersistError> {
        let sql = match self {
            Connection::Sqlite(_) => "BEGIN",
            Connection::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.script(sql.into()).await
    }

    /// Commits what went well, takes back what did not.
    pub async fn end<T>(&mut self, done: Result<T, PersistError>) -> Result<T, PersistError> {
        match done {
            Ok(done) => self.script("COMMIT".into()).await.map(|()| done),
            Err(error) => {
                self.script("ROLLBACK".into()).await?;
                Err(error)
            }
        }
    }

    /// Whether the database still answers.
    pub async fn ping(&mut self) -> Result<(), PersistError> {
        match self {
            Connection::Sqlite(connection) => connection.ping().await?,
            Connection::Postgres(connection) => connection.ping().await?,
        }
        Ok(())
    }

    /// Ends the session in order; a failure is of no interest any more.
    pub async fn close(self) {
        let _ = match self {
            Connection::Sqlite(connection) => connection.close().await,
            Connection::Postgres(connection) => connection.close().await,
        };
    }
}

impl Row {
    pub fn int(&self, column: usize) -> Result<i64, PersistError> {
        self.read(column)
    }

    /// A number that is never negative.
    pub fn count(&self, column: usize) -> Result<u64, PersistError> {
        let count = self.int(column)?;
        u64::try_from(count).map_err(|_| PersistError::Damaged {
            what: format!("column {column}"),
            reason: format!("{count} is negative"),
        })
    }

    pub fn text(&self, column: usize) -> Result<String, PersistError> {
        self.read(column)
    }

    pub fn maybe_text(&self, column: usize) -> Result<Option<String>, PersistError> {
        self.read(column)
    }

    pub fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, PersistError> {
        self.read(column)
    }

    fn read<T>(&self, column: usize) -> Result<T, PersistError>
    where
        T: for<'r> Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite>,
        T: for<'r> Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
        usize: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        let read = match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        };
        read.map_err(|error| PersistError::Damaged {
            what: format!("column {column}"),
            reason: error.to_string(),
        })
    }
}
