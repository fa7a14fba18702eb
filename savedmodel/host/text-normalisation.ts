/**
 * NormalizeUTF8 and CaseFoldUTF8 of TensorFlow Text, which Keras' translation examples use. TensorFlow Text calls ICU; what it computes is
 * Unicode's own: normalization forms (UAX 15) and NFKC_Casefold (UAX 44). Bytes that are not UTF-8 become U+FFFD, as ICU decodes them.
 */
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { type HostKernels, input, invalid, strings, stringTensor } from './host-tensor.ts';

const FORMS: readonly string[] = ['NFC', 'NFD', 'NFKC', 'NFKD'];

/** Kernels by op. */
export const NORMALISATION_OPS: HostKernels = {
  CaseFoldUTF8: (inputs) => [mapped(input(inputs, 0), foldCase)],
  NormalizeUTF8: (inputs, attrs) => [mapped(input(inputs, 0), normalizer(attrs))],
};

function mapped(tensor: HostTensor, change: (text: string) => string): HostTensor {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return stringTensor(
    tensor.shape,
    strings(tensor).map((bytes) => new Uint8Array(Buffer.from(change(decoder.decode(bytes)), 'utf8'))),
  );
}

function normalizer(attrs: HostAttrs): (text: string) => string {
  const form = attrs.text('normalization_form').toUpperCase();
  if (!FORMS.includes(form)) {
    throw invalid(`Offset not supported for this normalization form: ${form}. NormalizeUTF8 takes ${FORMS.join(', ')}`);
  }
  return (text) => text.normalize(form);
}

/** NFKC_Casefold: compatibility forms, case and what is ignorable by default make no difference. */
function foldCase(text: string): string {
  const folded = Array.from(text.normalize('NFD'), foldCharacter).join('').normalize('NFKC');
  return Array.from(folded.replace(/\p{Default_Ignorable_Code_Point}/gu, ''), foldCharacter)
    .join('')
    .normalize('NFKC');
}

/** Full case folding of one character. Upper case first undoes ligatures and variants; where that is not Unicode's folding, it says so. */
function foldCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code === 0x131) return character; // A dotless i is no i.
  if (code === 0x1e9e) return 'ss';
  // Cherokee folds to its upper case, which came first.
  if ((code >= 0x13a0 && code <= 0x13fd) || (code >= 0xab70 && code <= 0xabbf)) return character.toUpperCase();
  return Array.from(character.toUpperCase(), (one) => one.toLowerCase()).join('');
}
