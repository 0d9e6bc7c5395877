// An MCP server as most are written: Express reads the body, the SDK takes what it read.
// Prints its port, then the name of every tool that runs.
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import express from "express";

const app = express();
app.use(express.json());
app.post("/mcp", async (request, response) => {
  const server = new McpServer({ name: "express", version: "1" });
  for (const name of ["get_ticket", "purge"]) {
    server.registerTool(name, {}, async () => {
      console.log(name);
      return { content: [{ type: "text", text: name }] };
    });
  }
  const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
  response.on("close", () => transport.close());
  await server.connect(transport);
  await transport.handleRequest(request, response, request.body);
});
const listening = app.listen(0, "127.0.0.1", () => console.log(listening.address().port));
