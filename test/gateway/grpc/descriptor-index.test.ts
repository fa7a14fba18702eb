import { describe, expect, test } from '@jest/globals';
import descriptor from 'protobufjs/ext/descriptor/index.js';
import { createDescriptorIndex } from '../../../services/gateway/grpc/descriptor-index.ts';

const file = (fields: Record<string, unknown>) =>
  descriptor.FileDescriptorProto.encode(descriptor.FileDescriptorProto.fromObject(fields)).finish();
const nameOf = (bytes: Uint8Array) => (descriptor.FileDescriptorProto.decode(bytes) as unknown as { readonly name: string }).name;

const base = file({ name: 'base.proto', package: 'p', messageType: [{ name: 'Base', nestedType: [{ name: 'Inner' }] }] });
const left = file({
  name: 'left.proto',
  package: 'p',
  dependency: ['base.proto'],
  enumType: [{ name: 'E', value: [{ name: 'ONE', number: 1 }] }],
});
const right = file({
  name: 'right.proto',
  package: 'p',
  dependency: ['base.proto'],
  extension: [
    { name: 'late', number: 200, extendee: '.p.Base' },
    { name: 'early', number: 100, extendee: '.p.Base' },
  ],
});
const top = file({
  name: 'top.proto',
  package: 'p.q',
  dependency: ['left.proto', 'right.proto'],
  messageType: [
    {
      name: 'M',
      field: [{ name: 'f', number: 1 }],
      oneofDecl: [{ name: 'o' }],
      extension: [{ name: 'x', number: 7, extendee: '.p.Base' }],
    },
  ],
  service: [{ name: 'S', method: [{ name: 'Do', inputType: '.p.q.M', outputType: '.p.q.M' }] }],
});
const index = createDescriptorIndex([base, left, right, top]);
const names = (files: readonly Uint8Array[] | undefined) => files?.map(nameOf);

describe('descriptor index', () => {
  test('a file comes first and each that it needs once', () => {
    expect(names(index.fileByName('top.proto'))).toEqual(['top.proto', 'left.proto', 'right.proto', 'base.proto']);
    expect(names(index.fileByName('base.proto'))).toEqual(['base.proto']);
    expect(index.fileByName('no.proto')).toBeUndefined();
  });

  test.each([
    ['p.Base', 'base.proto'],
    ['p.Base.Inner', 'base.proto'],
    ['p.E', 'left.proto'],
    ['p.ONE', 'left.proto'],
    ['p.late', 'right.proto'],
    ['p.q.M', 'top.proto'],
    ['p.q.M.f', 'top.proto'],
    ['p.q.M.o', 'top.proto'],
    ['p.q.M.x', 'top.proto'],
    ['p.q.S', 'top.proto'],
    ['p.q.S.Do', 'top.proto'],
    // A value lives beside its enum, and a name needs its package.
    ['p.E.ONE', undefined],
    ['M', undefined],
  ])('the file that declares %s is %s', (symbol, wanted) => {
    expect(names(index.fileBySymbol(symbol))?.[0]).toBe(wanted);
  });

  test('extensions are found by the message that they extend, at the top of a file and in a message', () => {
    expect(index.extensionNumbers('p.Base')).toEqual([7, 100, 200]);
    expect(index.extensionNumbers('p.q.M')).toEqual([]);
    expect(index.extensionNumbers('p.E')).toBeUndefined();
    expect(names(index.fileByExtension('p.Base', 100))).toEqual(['right.proto', 'base.proto']);
    expect(names(index.fileByExtension('p.Base', 7))?.[0]).toBe('top.proto');
    expect(index.fileByExtension('p.Base', 8)).toBeUndefined();
  });
});
