-- The user database of Roost in SQLite, as roost-users(5) describes it. "roost database create" runs this file; so may
-- you, with sqlite3(1). Other programs may read and write the tables at any time, also while mail is delivered.
--
-- For those who change it: what stands below a "-- step N" line brings version N-1 to version N and never changes once
-- released. Steps are appended; each ends by saying its number. Statements may not span a "-- step" line.

-- Readers and a writer do not keep each other waiting. It is a property of the file, set once.
PRAGMA journal_mode = WAL;

-- step 1
CREATE TABLE roost_schema (
    version INTEGER NOT NULL            -- the number of the last step; one row
);

-- INSERT INTO users (name) VALUES ('alice@example.org') is a whole record.
CREATE TABLE users (
    name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
    enabled INTEGER NOT NULL DEFAULT 1, -- 0: takes no mail
    settings TEXT DEFAULT '{}',         -- a JSON object: key to string, integer or boolean
    allocation TEXT,                    -- written by Roost: what was made for the user; NULL: nothing yet
    version INTEGER NOT NULL DEFAULT 0  -- written by Roost: grows with every change it makes
) WITHOUT ROWID;

-- Settings for all users of a mail domain, and the plan that they are on.
CREATE TABLE domains (
    name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
    plan TEXT COLLATE NOCASE,           -- a name from plans; NULL: none
    settings TEXT DEFAULT '{}'
) WITHOUT ROWID;

-- Settings for all domains on a plan.
CREATE TABLE plans (
    name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
    settings TEXT DEFAULT '{}'
) WITHOUT ROWID;

-- Written by Roost: numbers that belong to one user alone, such as a uid.
CREATE TABLE numbers (
    pool TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE,
    PRIMARY KEY (pool, number),
    UNIQUE (name, pool)
) WITHOUT ROWID;

INSERT INTO roost_schema (version) VALUES (1);
