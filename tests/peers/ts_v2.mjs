// The TypeScript client, version 2, looking for the newest era: node ts_v2.mjs TARGET.json

import { readTarget, requirePackage, run } from "./steps.mjs";

const { Client, StreamableHTTPClientTransport } = requirePackage("@modelcontextprotocol/client");
const { StdioClientTransport } = requirePackage("@modelcontextprotocol/client/stdio");

const { target, headers } = readTarget();

async function connect() {
  const client = new Client(
    { name: "peer-ts-v2", version: "1.0.0" },
    { versionNegotiation: { mode: "auto" } },
  );
  const transport =
    target.url === undefined
      ? new StdioClientTransport({ command: target.argv[0], args: target.argv.slice(1) })
      : new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers } });
  await client.connect(transport);
  return {
    era: () => client.getNegotiatedProtocolVersion(),
    // Without a cursor it walks every page by itself.
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (params, options) => client.callTool(params, options),
    close: async () => {
      await transport.terminateSession?.();
      await client.close();
    },
  };
}

await run(target, connect);
