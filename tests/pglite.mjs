// Runs steps of SQL on the PostgreSQL that @electric-sql/pglite carries, and says what the catalogue is after each.
// Usage: node pglite.mjs NODE_MODULES < {"catalogue": "SELECT ...", "steps": [{"name": "...", "statements": [...]}]}
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const dist = join(resolve(process.argv[2]), "@electric-sql", "pglite", "dist");
const load = (path) => import(pathToFileURL(join(dist, path)).href);
const { PGlite } = await load("index.js");
const { vector } = await load("vector/index.js");
const { ltree } = await load("contrib/ltree.js");
const { pg_trgm } = await load("contrib/pg_trgm.js");

const { catalogue, steps } = JSON.parse(readFileSync(0, "utf8"));
const db = await PGlite.create({ extensions: { vector, ltree, pg_trgm } });
const done = [];
for (const { name, statements } of steps) {
  for (const statement of statements) {
    try {
      await db.exec(statement); // one by one: some stand outside a transaction
    } catch (error) {
      console.error(`${name}: ${error.message}\n${statement}`);
      process.exit(1);
    }
  }
  const { rows } = await db.query(catalogue, [], { rowMode: "array" });
  done.push({ name, catalogue: rows });
}
const { rows } = await db.query(
  "SELECT current_setting('server_version') AS postgres, (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector"
);
console.log(JSON.stringify({ ...rows[0], steps: done }));
await db.close();
