/** What was seen of a SavedModel, as text: first what `saved_model_cli show --all` says, in its form, then how the model runs. */
import { describeSavedModel } from '../read/describe.ts';
import type { MetaGraphInspection } from './inspect-saved-model.ts';
import { planLines } from './plan-text.ts';

/** All MetaGraphs, then how each of them runs. */
export function savedModelText(metaGraphs: readonly MetaGraphInspection[]): string {
  return [...metaGraphs.map(offeredText), ...metaGraphs.map(runText)].join('');
}

/** Signatures, then the ops: what TensorFlow's tool says, but for concrete functions; those are for callers in Python. */
function offeredText({ source, tags, ops }: MetaGraphInspection): string {
  return `${describeSavedModel(source)}The MetaGraph with tag set [${quoted(tags)}] contains the following ops: {${quoted(ops)}}\n`;
}

function runText({ tags, outcome }: MetaGraphInspection): string {
  const head = ['', `How the MetaGraph with tag-set: '${tags.join(', ')}' runs:`];
  if ('error' in outcome) {
    const { code, message } = outcome.error;
    return asText([...head, '', code === 'UNIMPLEMENTED' ? 'Not supported:' : 'Cannot be imported:', `  ${code}: ${message}`]);
  }
  return asText([...head, ...planLines(outcome.outline)]);
}

function asText(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`;
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join(', ');
}
