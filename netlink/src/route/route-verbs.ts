// The verbs of rtnetlink, by kind of object, over whatever carries requests out.
import type { Requests } from '../requests.ts'
import { Addresses } from './addresses.ts'
import { Fdb } from './fdb.ts'
import { Filters } from './filters.ts'
import { Links } from './links.ts'
import { Neighbours } from './neighbours.ts'
import { Nexthops } from './nexthops.ts'
import { Qdiscs } from './qdiscs.ts'
import { Routes } from './routes.ts'
import { Rules } from './rules.ts'
import { TrafficClasses } from './traffic-classes.ts'

export class RouteVerbs {
  readonly links: Links
  readonly addresses: Addresses
  readonly routes: Routes
  readonly rules: Rules
  readonly nexthops: Nexthops
  readonly neighbours: Neighbours
  readonly fdb: Fdb
  readonly qdiscs: Qdiscs
  readonly classes: TrafficClasses
  readonly filters: Filters

  constructor(requests: Requests) {
    this.links = new Links(requests)
    this.addresses = new Addresses(requests)
    this.routes = new Routes(requests)
    this.rules = new Rules(requests)
    this.nexthops = new Nexthops(requests)
    this.neighbours = new Neighbours(requests)
    this.fdb = new Fdb(requests)
    this.qdiscs = new Qdiscs(requests)
    this.classes = new TrafficClasses(requests)
    this.filters = new Filters(requests)
  }
}
