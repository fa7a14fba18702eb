/** Jest runs the TypeScript as Node does: types stripped, nothing compiled. */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/test/strip-types.mjs' },
  moduleNameMapper: { '^#mesh/(.*)$': '<rootDir>/mesh/$1', '^#proto/(.*)$': '<rootDir>/proto/$1' },
  modulePathIgnorePatterns: ['<rootDir>/.cache'],
  testTimeout: 60_000,
};
