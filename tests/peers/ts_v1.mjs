// The client of the TypeScript SDK, version 1, as a peer: node ts_v1.mjs TARGET.json

import { readTarget, requirePackage, run } from "./steps.mjs";

const SDK = "@modelcontextprotocol/sdk/client";
const { Client } = requirePackage(`${SDK}/index.js`);
const { StdioClientTransport } = requirePackage(`${SDK}/stdio.js`);
const { StreamableHTTPClientTransport } = requirePackage(`${SDK}/streamableHttp.js`);

const { target, headers } = readTarget();

async function connect() {
  const client = new Client({ name: "peer-ts-v1", version: "1.0.0" });
  const transport =
    target.url === undefined
      ? new StdioClientTransport({ command: target.argv[0], args: target.argv.slice(1) })
      : new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers } });
  // Only the HTTP transport keeps the version for others to read; both are told it.
  let era;
  const tell = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (version) => {
    era = version;
    tell?.(version);
  };
  await client.connect(transport);
  return {
    era: () => era,
    tools: async () => {
      const names = [];
      let cursor;
      do {
        const page = await client.listTools({ cursor });
        names.push(...page.tools.map((tool) => tool.name));
        cursor = page.nextCursor;
      } while (cursor !== undefined);
      return names;
    },
    call: (params, options) => client.callTool(params, undefined, options),
    close: async () => {
      // A client that leaves ends its MCP session; close() alone does not.
      await transport.terminateSession?.();
      await client.close();
    },
  };
}

await run(target, connect);
