// Every type that the package's exports mention can be imported from the same place.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));

// Computed of all operations: what it is made of is reached by index, as Operations['moveObject']['input'].
const COMPUTED = ['Operations'];

/** The types of ours that the exports of a file mention, and those of their types, that it does not export. */
function missing(entry: string): string[] {
  const file = `${dist}${entry}.d.ts`;
  const program = ts.createProgram([file], {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ESNext,
    skipLibCheck: true,
  });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(file);
  const moduleSymbol = source && checker.getSymbolAtLocation(source);
  assert.ok(moduleSymbol, `${file} is not there: npm run build`);
  const resolve = (symbol: ts.Symbol): ts.Symbol =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const exported = checker.getExportsOfModule(moduleSymbol).map(resolve);
  const seen = new Set(exported);
  const found: string[] = [];

  const mention = (name: ts.Node, by: ts.Symbol): void => {
    const symbol = checker.getSymbolAtLocation(name);
    if (!symbol) return;
    const type = resolve(symbol);
    const [declaration] = type.declarations ?? [];
    const isOurs = declaration?.getSourceFile().fileName.startsWith(dist) ?? false;
    const isType =
      type.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias | ts.SymbolFlags.Class);
    if (!isOurs || isType === 0 || seen.has(type)) return;
    seen.add(type);
    found.push(`${type.name}, which ${by.name} mentions`);
  };
  const visit = (node: ts.Node, by: ts.Symbol): void => {
    const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
    if (modifiers.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)) return;
    if (ts.isTypeReferenceNode(node)) mention(node.typeName, by);
    if (ts.isExpressionWithTypeArguments(node)) mention(node.expression, by);
    if (ts.isImportTypeNode(node) && node.qualifier) mention(node.qualifier, by);
    ts.forEachChild(node, (child) => {
      visit(child, by);
    });
  };
  for (const symbol of exported) {
    if (COMPUTED.includes(symbol.name)) continue;
    for (const declaration of symbol.declarations ?? []) visit(declaration, symbol);
  }
  return found;
}

describe('every type that an export mentions can be imported', () => {
  for (const [name, entry] of [
    ['sharder', 'index'],
    ['sharder/client', 'client/index'],
    ['sharder/service', 'run/service'],
  ] as const) {
    it(`from ${name}`, () => {
      assert.deepEqual(missing(entry), []);
    });
  }
});
