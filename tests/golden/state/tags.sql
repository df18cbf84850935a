CREATE TABLE tags (content TEXT NOT NULL, tag TEXT NOT NULL, shown TEXT NOT NULL, PRIMARY KEY (content, tag)) WITHOUT ROWID;
CREATE TABLE folders (path TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO tags VALUES ('b8bb1c5af56f4092bccb37da3265ac32', 'hero shot', 'Hero shot');
PRAGMA user_version = 1;
