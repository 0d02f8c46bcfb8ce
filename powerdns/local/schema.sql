-- Tables of the gsqlite3 backend, PowerDNS 4.7 and later, as its queries (pdns_server --help, gsqlite3-*-query) expect
-- them. Kept here because Debian ships its copy among the documentation, which minimal images leave out.

CREATE TABLE domains (
  id              INTEGER PRIMARY KEY,
  name            VARCHAR(255) NOT NULL COLLATE NOCASE,
  master          VARCHAR(128),
  last_check      INTEGER,
  type            VARCHAR(8) NOT NULL,
  notified_serial INTEGER,
  account         VARCHAR(40),
  options         VARCHAR(65535),
  catalog         VARCHAR(255)
);
CREATE UNIQUE INDEX domains_name ON domains (name);
CREATE INDEX domains_catalog ON domains (catalog);

CREATE TABLE records (
  id        INTEGER PRIMARY KEY,
  domain_id INTEGER REFERENCES domains (id) ON DELETE CASCADE ON UPDATE CASCADE,
  name      VARCHAR(255),
  type      VARCHAR(10),
  content   VARCHAR(65535),
  ttl       INTEGER,
  prio      INTEGER,
  disabled  BOOLEAN DEFAULT 0,
  ordername VARCHAR(255),
  auth      BOOLEAN DEFAULT 1
);
CREATE INDEX records_lookup ON records (name, type);
CREATE INDEX records_lookup_id ON records (domain_id, name, type);
CREATE INDEX records_order ON records (domain_id, ordername);

CREATE TABLE supermasters (
  ip         VARCHAR(64) NOT NULL,
  nameserver VARCHAR(255) NOT NULL COLLATE NOCASE,
  account    VARCHAR(40) NOT NULL
);
CREATE UNIQUE INDEX supermasters_key ON supermasters (ip, nameserver);

CREATE TABLE comments (
  id          INTEGER PRIMARY KEY,
  domain_id   INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE ON UPDATE CASCADE,
  name        VARCHAR(255) NOT NULL,
  type        VARCHAR(10) NOT NULL,
  modified_at INTEGER NOT NULL,
  account     VARCHAR(40),
  comment     VARCHAR(65535) NOT NULL
);
CREATE INDEX comments_lookup ON comments (domain_id, name, type);
CREATE INDEX comments_order ON comments (domain_id, modified_at);

CREATE TABLE domainmetadata (
  id        INTEGER PRIMARY KEY,
  domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE ON UPDATE CASCADE,
  kind      VARCHAR(32) COLLATE NOCASE,
  content   TEXT
);
CREATE INDEX domainmetadata_domain ON domainmetadata (domain_id);

CREATE TABLE cryptokeys (
  id        INTEGER PRIMARY KEY,
  domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE ON UPDATE CASCADE,
  flags     INTEGER NOT NULL,
  active    BOOLEAN,
  published BOOLEAN DEFAULT 1,
  content   TEXT
);
CREATE INDEX cryptokeys_domain ON cryptokeys (domain_id);

CREATE TABLE tsigkeys (
  id        INTEGER PRIMARY KEY,
  name      VARCHAR(255) COLLATE NOCASE,
  algorithm VARCHAR(50) COLLATE NOCASE,
  secret    VARCHAR(255)
);
CREATE UNIQUE INDEX tsigkeys_key ON tsigkeys (name, algorithm);
