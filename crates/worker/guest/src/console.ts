// The console: Console Standard. What it prints is the program's log.

import {
  append, arrayJoin, arraySlice, hasOwn, mapDelete, mapGet, mapHas, mapSet, objectCreate, objectKeys, stringPadEnd, stringRepeat,
  stringSplit, isArray,
} from './primordials.ts';
import { format, inspect } from './inspect.ts';
import { defineFunctions, defineValue, descriptor, isObject, toDOMString } from './webidl.ts';
import { host } from './worker.ts';
import { defineProperty } from './primordials.ts';

type Level = 'debug' | 'info' | 'warn' | 'error';

const NativeMap = Map;
const NativeError = Error;
let margin = '';
// Made when they are needed: most programs neither count nor measure.
let counts: Map<string, number> | undefined;
let timers: Map<string, number> | undefined;

function print(level: Level, text: string): void {
  host.log(level, margin === '' ? text : margin + arrayJoin(stringSplit(text, '\n'), `\n${margin}`));
}

function log(level: Level, args: readonly unknown[]): void {
  if (args.length > 0) print(level, format(args));
}

function label(value: unknown): string {
  return value === undefined ? 'default' : toDOMString(value);
}

function elapsed(name: string): string | undefined {
  const start = timers === undefined ? undefined : mapGet(timers, name);
  if (start === undefined) {
    print('warn', `Timer '${name}' does not exist`);
    return undefined;
  }
  return `${name}: ${(host.elapsed() - start).toFixed(3)}ms`;
}

function group(args: readonly unknown[]): void {
  log('info', args);
  margin += '  ';
}

/** Rows and columns, or undefined if the data has none. */
function table(data: unknown, properties: unknown): string | undefined {
  if (!isObject(data)) return undefined;
  const columns: string[] = [];
  const rows: { index: string; cells: Map<string, string>; value: string | undefined }[] = [];
  const only = isArray(properties) ? properties : undefined;
  if (only !== undefined) for (let i = 0; i < only.length; i++) append(columns, toDOMString(only[i]));
  let values = false;
  const keys = objectKeys(data);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as string;
    const row: unknown = (data as Record<string, unknown>)[key];
    const cells = new NativeMap<string, string>();
    let value: string | undefined;
    if (isObject(row)) {
      const names = only === undefined ? objectKeys(row) : columns;
      for (let k = 0; k < names.length; k++) {
        const name = names[k] as string;
        if (!hasOwn(row, name)) continue;
        if (only === undefined && !includes(columns, name)) append(columns, name);
        mapSet(cells, name, inspect((row as Record<string, unknown>)[name], 0));
      }
    } else {
      value = inspect(row);
      values = true;
    }
    append(rows, { index: key, cells, value });
  }
  const grid: string[][] = [];
  const head = ['(index)'];
  for (let i = 0; i < columns.length; i++) append(head, columns[i] as string);
  if (values) append(head, 'Values');
  append(grid, head);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as (typeof rows)[number];
    const line = [row.index];
    for (let k = 0; k < columns.length; k++) append(line, mapGet(row.cells, columns[k] as string) ?? '');
    if (values) append(line, row.value ?? '');
    append(grid, line);
  }
  return draw(grid);
}

function includes(list: readonly string[], text: string): boolean {
  for (let i = 0; i < list.length; i++) if (list[i] === text) return true;
  return false;
}

function draw(grid: readonly string[][]): string {
  const widths: number[] = [];
  for (let i = 0; i < grid.length; i++) {
    const row = grid[i] as string[];
    for (let k = 0; k < row.length; k++) {
      const width = (row[k] as string).length + 2;
      if (widths[k] === undefined || width > (widths[k] as number)) widths[k] = width;
    }
  }
  const rule = (left: string, middle: string, right: string): string => {
    let text = left;
    for (let k = 0; k < widths.length; k++) text += (k === 0 ? '' : middle) + stringRepeat('─', widths[k] as number);
    return text + right;
  };
  const lines = [rule('┌', '┬', '┐')];
  for (let i = 0; i < grid.length; i++) {
    let text = '│';
    for (let k = 0; k < widths.length; k++) text += `${stringPadEnd(` ${grid[i]?.[k] ?? ''}`, widths[k] as number)}│`;
    append(lines, text);
    if (i === 0) append(lines, rule('├', '┼', '┤'));
  }
  append(lines, rule('└', '┴', '┘'));
  return arrayJoin(lines, '\n');
}

export function install(global: object): void {
  // A namespace object: its prototype is an empty object of its own.
  const console: object = objectCreate(objectCreate(Object.prototype));
  defineFunctions(console, {
    assert(condition: unknown = false, ...data: unknown[]): void {
      if (condition) return;
      if (data.length === 0) print('error', 'Assertion failed');
      else if (typeof data[0] === 'string') {
        data[0] = `Assertion failed: ${data[0]}`;
        log('error', data);
      } else {
        print('error', `Assertion failed ${format(data)}`);
      }
    },
    clear(): void {
      margin = '';
    },
    debug: (...data: unknown[]): void => log('debug', data),
    error: (...data: unknown[]): void => log('error', data),
    info: (...data: unknown[]): void => log('info', data),
    log: (...data: unknown[]): void => log('info', data),
    table(tabularData: unknown = undefined, properties: unknown = undefined): void {
      const text = table(tabularData, properties);
      if (text === undefined) log('info', arraySlice([tabularData]));
      else print('info', text);
    },
    trace(...data: unknown[]): void {
      const stack = new NativeError().stack ?? '';
      const text = format(data);
      print('debug', `Trace${text === '' ? '' : `: ${text}`}\n${stack}`);
    },
    warn: (...data: unknown[]): void => log('warn', data),
    dir(item: unknown = undefined, _options: unknown = undefined): void {
      print('info', inspect(item, 4));
    },
    dirxml: (...data: unknown[]): void => log('info', data),
    count(name: unknown = 'default'): void {
      const key = label(name);
      counts ??= new NativeMap();
      const count = (mapGet(counts, key) ?? 0) + 1;
      mapSet(counts, key, count);
      print('info', `${key}: ${count}`);
    },
    countReset(name: unknown = 'default'): void {
      const key = label(name);
      if (counts === undefined || !mapHas(counts, key)) print('warn', `Count for '${key}' does not exist`);
      else mapSet(counts, key, 0);
    },
    group: (...data: unknown[]): void => group(data),
    groupCollapsed: (...data: unknown[]): void => group(data),
    groupEnd(): void {
      margin = stringRepeat('  ', margin.length / 2 > 1 ? margin.length / 2 - 1 : 0);
    },
    time(name: unknown = 'default'): void {
      const key = label(name);
      timers ??= new NativeMap();
      if (mapHas(timers, key)) print('warn', `Timer '${key}' already exists`);
      else mapSet(timers, key, host.elapsed());
    },
    timeLog(name: unknown = 'default', ...data: unknown[]): void {
      const text = elapsed(label(name));
      if (text !== undefined) print('info', data.length === 0 ? text : `${text} ${format(data)}`);
    },
    timeEnd(name: unknown = 'default'): void {
      const key = label(name);
      const text = elapsed(key);
      if (text === undefined) return;
      mapDelete(timers as Map<string, number>, key);
      print('info', text);
    },
  });
  defineProperty(console, Symbol.toStringTag, descriptor({ value: 'console', writable: false, enumerable: false, configurable: true }));
  defineValue(global, 'console', console, false);
}
