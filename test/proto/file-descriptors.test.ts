import { describe, expect, test } from '@jest/globals';
import protobuf from 'protobufjs';
import descriptor from 'protobufjs/ext/descriptor/index.js';
import { loadFileDescriptors } from '#proto/file-descriptors.ts';
import { loadPackageDefinition, PROTO_FILES } from '#proto/load.ts';
import { loadRoot } from './protobuf-root.ts';

interface FileDescriptor {
  readonly name: string;
  readonly package: string;
  readonly dependency: readonly string[];
}

const descriptors = loadFileDescriptors();
const files = descriptors.map((bytes) => descriptor.FileDescriptorProto.decode(bytes) as unknown as FileDescriptor);

/** Every field of every message as `message.field = number type`. */
function fieldsOf(root: protobuf.NamespaceBase): readonly string[] {
  const lines: string[] = [];
  const walk = (space: protobuf.NamespaceBase) => {
    for (const one of space.nestedArray) {
      if (one instanceof protobuf.Type) for (const field of one.fieldsArray) lines.push(lineOf(field.resolve()));
      if (one instanceof protobuf.Enum)
        lines.push(...Object.entries(one.values).map(([name, number]) => `${one.fullName}.${name} = ${number}`));
      if (one instanceof protobuf.Namespace && !one.fullName.endsWith('Entry')) walk(one);
    }
  };
  walk(root);
  // Reading a descriptor back makes a map's entries messages of their own.
  return lines.filter((line) => !line.startsWith('.google.') && !/Entry\.(key|value) /.test(line)).sort();
}

function lineOf(field: protobuf.Field): string {
  const isMap = field.map || field.resolvedType?.fullName.endsWith('Entry');
  const many = isMap ? 'map ' : field.repeated ? 'repeated ' : '';
  return `${field.fullName} = ${field.id} ${many}${isMap ? '' : (field.resolvedType?.fullName ?? field.type)}`;
}

describe('file descriptors', () => {
  test('every file is there once, after all that it imports', () => {
    const names = files.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const file of PROTO_FILES) expect(names).toContain(file);
    for (const [index, { dependency }] of files.entries()) expect(names.slice(0, index)).toEqual(expect.arrayContaining([...dependency]));
  });

  test('a file has the package that its name says', () => {
    const packages = new Map(files.map((file) => [file.name, file.package]));
    expect(packages.get('tensorflow_serving/apis/predict.proto')).toBe('tensorflow.serving');
    expect(packages.get('tensorflow/core/framework/tensor.proto')).toBe('tensorflow');
    expect(packages.get('grpc/health/v1/health.proto')).toBe('grpc.health.v1');
    expect(packages.get('google/protobuf/any.proto')).toBe('google.protobuf');
  });

  test('read back, they say the same as the .proto files', () => {
    const set = descriptor.FileDescriptorSet.fromObject({});
    (set as unknown as { file: unknown[] }).file = files.map((file) => file);
    const read = (protobuf.Root as unknown as { fromDescriptor(from: unknown): protobuf.Root }).fromDescriptor(set).resolveAll();
    const wanted = fieldsOf(loadRoot().resolveAll());
    expect(wanted.length).toBeGreaterThan(200);
    expect(fieldsOf(read)).toEqual(wanted);
  });

  test('the package definition has every service with its methods', () => {
    const definition = loadPackageDefinition();
    const methodsOf = (service: string) => Object.keys(definition[service] ?? {}).sort();
    expect(methodsOf('tensorflow.serving.PredictionService')).toEqual([
      'Classify',
      'GetModelMetadata',
      'MultiInference',
      'Predict',
      'Regress',
    ]);
    expect(methodsOf('tensorflow.serving.ModelService')).toEqual(['GetModelStatus', 'HandleReloadConfigRequest']);
    expect(methodsOf('grpc.health.v1.Health')).toEqual(['Check', 'Watch']);
    expect(methodsOf('headrace.v1.ConfigService')).toEqual(['PutModel', 'ReadConfig', 'RemoveModel']);
  });
});
