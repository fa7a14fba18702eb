#!/usr/bin/env node
// headrace [COMMAND] [ARGS…]: `inspect DIR` shows a model and how it runs; without a command the server starts, with its flags.
const COMMANDS = { inspect: 'savedmodel/inspect/main.ts', serve: 'services/embedded/main.ts' };

const [node, script, ...words] = process.argv;
const isCommand = Object.hasOwn(COMMANDS, words[0] ?? '');
process.argv = [node, script, isCommand ? COMMANDS[words[0]] : COMMANDS.serve, ...(isCommand ? words.slice(1) : words)];
await import('./run.mjs');
