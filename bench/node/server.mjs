// Serves the page of bench/pages.py with mercurius and its JIT:
// node server.mjs DATA loaders|dataloader|direct PORT
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import DataLoader from "dataloader";
import Fastify from "fastify";
import mercurius from "mercurius";

const [dataFile, variant, port] = process.argv.slice(2);
const data = JSON.parse(readFileSync(dataFile, "utf8"));
const departments = new Map(data.departments.map((each) => [each.id, each]));
const divisions = new Map(data.divisions.map((each) => [each.code, each]));

const resolvers = {
  Query: {
    items(_, { first, offset }) {
      const end = Math.min(offset + first, data.items.length);
      const hasNextPage = end < data.items.length;
      const pageInfo = { total: data.items.length, hasNextPage, endCursor: hasNextPage ? String(end) : null };
      return { items: data.items.slice(offset, end), pageInfo };
    },
  },
};
const options = {
  schema: data.schema,
  resolvers,
  jit: 1,
  graphiql: false,
  persistedQueryProvider: mercurius.persistedQueryDefaults.prepared({
    [createHash("sha256").update(data.page, "utf8").digest("hex")]: data.page,
  }),
};

const variants = {
  // mercurius' own batches: one call per level, a cache per request.
  loaders() {
    options.loaders = {
      Item: {
        department: async (queries) => queries.map(({ obj }) => departments.get(obj.departmentId)),
        division: async (queries) => queries.map(({ obj }) => divisions.get(obj.divisionCode)),
      },
    };
  },
  // A DataLoader per request and relation in the context.
  dataloader() {
    options.context = () => ({
      departments: new DataLoader(async (keys) => keys.map((key) => departments.get(key))),
      divisions: new DataLoader(async (keys) => keys.map((key) => divisions.get(key))),
    });
    resolvers.Item = {
      department: (item, _, context) => context.departments.load(item.departmentId),
      division: (item, _, context) => context.divisions.load(item.divisionCode),
    };
  },
  // No batches at all: each relation read from a map in memory.
  direct() {
    resolvers.Item = {
      department: (item) => departments.get(item.departmentId),
      division: (item) => divisions.get(item.divisionCode),
    };
  },
};
variants[variant]();

const app = Fastify({ logger: false });
app.register(mercurius, options);
await app.listen({ host: "127.0.0.1", port: Number(port) });
