"""What Redis does for limits and budgets, as Lua: each script is one change that happens as a whole or not at all.

All keys begin with `fg:{<namespace>}:`, so that they share a slot, and hold no secret:
`account:<name>` what a budget spent (s) and holds (h); `holder:<name>` requests under way (active) and in all its life
(served); `rate:<name>` triples of second, requests and tokens; `hold:<request>` what a request holds; `leases` until
when, by request; `swept:<request>` a hold whose lease ran out; `batch:<id>` a batch that was charged.

Every script takes the key `leases` and one argument in JSON, and first sweeps what outlived its lease. The clock is
Redis's own (TIME), which all workers share; `now` in the argument takes its place in tests.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Script(NamedTuple):
    """A script and the name under which Redis remembers it."""

    text: str
    digest: str


LEASE_SECONDS = 60
"""A request's place and money are given back so long after its worker was last heard of."""
SWEPT_SECONDS = 3_600
"""A request whose lease ran out although it was alive is still charged, once, if it ends within this time."""
ENDED_SECONDS = 120
BATCH_SECONDS = 86_400
KEPT_AFTER_SECONDS = 172_800
"""An account outlives its period by this, so that a clock that goes back finds it."""
IDLE_SECONDS = 2_592_000
"""A total without an end, or a holder, that nobody uses is dropped and told anew when it is used again."""

_PRELUDE = (
    f"local LEASE, SWEPT, ENDED, BATCH, KEPT, IDLE = "
    f"{LEASE_SECONDS}, {SWEPT_SECONDS}, {ENDED_SECONDS}, {BATCH_SECONDS}, {KEPT_AFTER_SECONDS}, {IDLE_SECONDS}\n"
    """
local P = string.sub(KEYS[1], 1, -7)
local A = cjson.decode(ARGV[1])
local now = A.now
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local second = math.floor(now)

-- As quota/window.py: seconds that lie behind the last minute as a whole are gone; none may lie in the future.
local function save_rate(name, rate)
  redis.call('SET', P .. 'rate:' .. name, cmsgpack.pack(rate), 'EX', 62)
end

local function load_rate(name)
  local packed = redis.call('GET', P .. 'rate:' .. name)
  local rate, requests, tokens, moved = {}, 0, 0, false
  if packed then
    local old = cmsgpack.unpack(packed)
    for i = 1, #old, 3 do
      if old[i] >= second - 60 then
        moved = moved or old[i] > second
        rate[#rate + 1] = math.min(old[i], second)
        rate[#rate + 1] = old[i + 1]
        rate[#rate + 1] = old[i + 2]
        requests, tokens = requests + old[i + 1], tokens + old[i + 2]
      end
    end
  end
  if moved then save_rate(name, rate) end
  return rate, requests, tokens
end

local function count(rate, requests, tokens)
  local last = #rate - 2
  if last < 1 or rate[last] ~= second then
    last = #rate + 1
    rate[last], rate[last + 1], rate[last + 2] = second, 0, 0
  end
  rate[last + 1], rate[last + 2] = rate[last + 1] + requests, rate[last + 2] + tokens
end

local function uncount(rate, at, tokens)
  for i = 1, #rate, 3 do
    if rate[i] == at then
      rate[i + 2] = math.max(0, rate[i + 2] - tokens)
      return
    end
  end
end

-- What is given back never exceeds what is there: the account, or the holder, may have been forgotten meanwhile.
local function lower(key, field, amount)
  local known = tonumber(redis.call('HGET', key, field) or 0)
  if known > 0 and amount > 0 then redis.call('HINCRBY', key, field, -math.min(known, amount)) end
end

local function charge(names, micros)
  for _, name in ipairs(names) do
    local key = P .. 'account:' .. name
    -- One that is not open will be opened with what the records say, this cost among it.
    if redis.call('HEXISTS', key, 's') == 1 and micros ~= 0 then redis.call('HINCRBY', key, 's', micros) end
  end
end

local function release(request, hold, tokens)
  for _, name in ipairs(hold.accounts) do lower(P .. 'account:' .. name, 'h', hold.micros) end
  for _, holder in ipairs(hold.holders) do
    lower(P .. 'holder:' .. holder.name, 'active', 1)
    if holder.tokens and tokens and tokens ~= hold.tokens then
      local rate = load_rate(holder.name)
      if tokens > hold.tokens then
        count(rate, 0, tokens - hold.tokens)
      else
        uncount(rate, hold.second, hold.tokens - tokens)
      end
      save_rate(holder.name, rate)
    end
  end
  redis.call('DEL', P .. 'hold:' .. request)
  redis.call('ZREM', KEYS[1], request)
end

local function hold_of(request)
  local packed = redis.call('GET', P .. 'hold:' .. request)
  return packed and cmsgpack.unpack(packed)
end

for _, request in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 64)) do
  local hold = hold_of(request)
  if hold then
    release(request, hold)
    redis.call('SET', P .. 'swept:' .. request, 1, 'EX', SWEPT)
  else
    redis.call('ZREM', KEYS[1], request)
  end
end
"""
)


def _script(body: str) -> Script:
    text = _PRELUDE + body
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ENTER = _script("""
-- {request, holders: [{name, rpm, tpm, concurrency, most}], lines: [{account, limit, ends}], tokens, micros, forced,
-- look}. Replies {'in', what is left of each line, what each holder has used of requests and tokens, what was spent of
-- each line}, or why not. With `look` the lists are empty, and nothing is held or counted.
if redis.call('EXISTS', P .. 'hold:' .. A.request) == 1 then
  redis.call('ZADD', KEYS[1], now + LEASE, A.request)
  return {'in', {}, {}, {}}
end
if not A.forced and redis.call('EXISTS', P .. 'ended:' .. A.request) == 1 then return {'ended'} end
local spent, held, rates, served = {}, {}, {}, {}
local unknown = {'unknown', {}, {}}
for i, line in ipairs(A.lines) do
  local found = redis.call('HMGET', P .. 'account:' .. line.account, 's', 'h')
  if found[1] then
    spent[i], held[i] = tonumber(found[1]), tonumber(found[2] or 0)
  else
    table.insert(unknown[2], line.account)
  end
end
for i, holder in ipairs(A.holders) do
  served[i] = redis.call('HGET', P .. 'holder:' .. holder.name, 'served')
  if holder.most > 0 and not served[i] then table.insert(unknown[3], holder.name) end
  if holder.rpm > 0 or holder.tpm > 0 then
    local rate, requests, tokens = load_rate(holder.name)
    rates[i] = {rate, requests, tokens}
  end
end

-- Until the oldest seconds that hold the excess are gone; fractions do not survive a reply, hence milliseconds.
local function wait(rate, which, used, amount, limit)
  local excess = used + math.min(amount, limit) - limit
  for i = 1, #rate, 3 do
    excess = excess - rate[i + which]
    if excess <= 0 then return math.ceil((rate[i] + 61 - now) * 1000) end
  end
  return 0
end

if not A.forced then
  if #unknown[2] + #unknown[3] > 0 then return unknown end
  for i, holder in ipairs(A.holders) do
    local rate = rates[i]
    if holder.most > 0 and tonumber(served[i]) >= holder.most then return {'over', i - 1, 'max_requests', -1} end
    if holder.concurrency > 0 then
      local active = tonumber(redis.call('HGET', P .. 'holder:' .. holder.name, 'active') or 0)
      if active >= holder.concurrency then return {'over', i - 1, 'concurrency', -1} end
    end
    if holder.rpm > 0 and rate[2] + 1 > holder.rpm then
      return {'over', i - 1, 'requests', wait(rate[1], 1, rate[2], 1, holder.rpm)}
    end
    if holder.tpm > 0 and rate[3] + math.min(A.tokens, holder.tpm) > holder.tpm then
      return {'over', i - 1, 'tokens', wait(rate[1], 2, rate[3], A.tokens, holder.tpm)}
    end
  end
  for i, line in ipairs(A.lines) do
    local left = line.limit - spent[i] - held[i]
    if left < A.micros or left <= 0 then return {'short', i - 1, left} end
  end
end
if A.look then return {'in', {}, {}, {}} end

local left, used, seen, hold = {}, {}, {}, {accounts = {}, holders = {}}
for i, line in ipairs(A.lines) do
  if spent[i] then
    left[i] = line.limit - spent[i] - held[i] - A.micros
    if not seen[line.account] then
      seen[line.account] = true
      local key = P .. 'account:' .. line.account
      table.insert(hold.accounts, line.account)
      redis.call('HINCRBY', key, 'h', A.micros)
      if line.ends == 0 then redis.call('EXPIRE', key, IDLE) end
    end
  else
    left[i], spent[i] = 0, 0
  end
end
for i, holder in ipairs(A.holders) do
  local key = P .. 'holder:' .. holder.name
  redis.call('HINCRBY', key, 'active', 1)
  redis.call('EXPIRE', key, IDLE)
  if served[i] then redis.call('HINCRBY', key, 'served', 1) end
  used[2 * i - 1], used[2 * i] = 0, 0
  if rates[i] then
    count(rates[i][1], 1, A.tokens)
    save_rate(holder.name, rates[i][1])
    used[2 * i - 1], used[2 * i] = rates[i][2] + 1, rates[i][3] + A.tokens
  end
  table.insert(hold.holders, {name = holder.name, tokens = rates[i] ~= nil})
end
hold.micros, hold.tokens, hold.second = A.micros, A.tokens, second
redis.call('SET', P .. 'hold:' .. A.request, cmsgpack.pack(hold))
redis.call('ZADD', KEYS[1], now + LEASE, A.request)
redis.call('DEL', P .. 'swept:' .. A.request, P .. 'ended:' .. A.request)
return {'in', left, used, spent}
""")

OPEN = _script("""
-- {account, spent, ends} or {holder, served}
if A.account then
  local key = P .. 'account:' .. A.account
  redis.call('HSETNX', key, 's', A.spent)
  if A.ends > 0 then
    redis.call('EXPIREAT', key, math.max(math.ceil(A.ends), second) + KEPT)
  else
    redis.call('EXPIRE', key, IDLE)
  end
else
  redis.call('HSETNX', P .. 'holder:' .. A.holder, 'served', A.served)
  redis.call('EXPIRE', P .. 'holder:' .. A.holder, IDLE)
end
return {'open'}
""")

EXTEND = _script("""
-- {request, lines, micros}
local hold = hold_of(A.request)
if not hold then return {'gone'} end
for i, line in ipairs(A.lines) do
  local found = redis.call('HMGET', P .. 'account:' .. line.account, 's', 'h')
  local left = line.limit - tonumber(found[1] or 0) - tonumber(found[2] or 0)
  if left < A.micros then return {'short', i - 1, left} end
end
for _, name in ipairs(hold.accounts) do redis.call('HINCRBY', P .. 'account:' .. name, 'h', A.micros) end
hold.micros = hold.micros + A.micros
redis.call('SET', P .. 'hold:' .. A.request, cmsgpack.pack(hold))
return {'in'}
""")

LEAVE = _script("""
-- {leaves: [{request, accounts, micros or nothing, tokens or nothing, held, discounted, again}]}
for _, leave in ipairs(A.leaves) do
  local hold = hold_of(leave.request)
  if hold then
    charge(leave.accounts, leave.micros or hold.micros)
    release(leave.request, hold, leave.tokens)
    if leave.discounted then
      for _, holder in ipairs(hold.holders) do lower(P .. 'holder:' .. holder.name, 'served', 1) end
    end
  elseif redis.call('DEL', P .. 'swept:' .. leave.request) == 1
    or not leave.again and redis.call('EXISTS', P .. 'ended:' .. leave.request) == 0 then
    -- Its lease ran out, or everything was forgotten: whoever asks for the first time has not been charged yet.
    charge(leave.accounts, leave.micros or leave.held)
  end
  if leave.again then redis.call('SET', P .. 'ended:' .. leave.request, 1, 'EX', ENDED) end
end
return {'left'}
""")

RENEW = _script("""
-- {requests}
local gone = {'gone'}
for _, request in ipairs(A.requests) do
  if redis.call('EXISTS', P .. 'hold:' .. request) == 1 then
    redis.call('ZADD', KEYS[1], now + LEASE, request)
  else
    gone[#gone + 1] = request
  end
end
return gone
""")

CHARGE = _script("""
-- {batch, costs: [{account, micros}]}
if redis.call('SET', P .. 'batch:' .. A.batch, 1, 'NX', 'EX', BATCH) then
  for _, cost in ipairs(A.costs) do charge({cost.account}, cost.micros) end
end
return {'charged'}
""")
