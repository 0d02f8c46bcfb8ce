package main

import (
	"bytes"
	"encoding/json"
)

// doc is an object of the description.
type doc = map[string]any

// openAPI is docs/openapi.json: what the proxy adds to PowerDNS's API, what roles serve, and what the health role posts.
func openAPI(root string) (string, error) {
	c := newCatalog(root)
	answers := map[string]doc{}
	for _, of := range []string{
		"status.Document", "observe.ReadinessDocument", "rolehealth.HookDocument", "proxy.zoneJSON", "proxy.changeJSON",
	} {
		k, err := c.add(of)
		if err != nil {
			return "", err
		}
		answers[of] = k.schema()
	}
	schemas := doc{"Error": doc{
		"type": "object", "properties": doc{"error": doc{"type": "string", "description": "what is wrong"}}, "required": []string{"error"},
	}}
	for _, o := range c.objects {
		schemas[o.name] = o.schema()
	}
	described := doc{
		"openapi": "3.1.0",
		"info": doc{
			"title": "pdns-distribute", "version": "1",
			"description": "What the proxy adds to PowerDNS's API, what each role answers at its observe.listen, and what the " +
				"health role posts. All else at the proxy is PowerDNS's own API, which PowerDNS describes. " +
				"Made from the source by make man.",
		},
		"paths":    paths(answers),
		"webhooks": doc{"alarms": doc{"post": hook(answers["rolehealth.HookDocument"])}},
		"components": doc{
			"schemas": schemas, "headers": headers(), "parameters": parameters(),
			"securitySchemes": doc{"key": doc{
				"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "PowerDNS's own, or a scoped key of the proxy",
			}},
		},
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(described); err != nil {
		return "", err
	}
	return out.String(), nil
}

// proxyAt and roleAt are where requests go.
func proxyAt() []doc {
	return []doc{{"url": "https://{host}:8443", "description": "the proxy", "variables": doc{"host": doc{"default": "localhost"}}}}
}

func roleAt(ports ...string) []doc {
	return []doc{{
		"url": "http://{host}:{port}", "description": "observe.listen of the role",
		"variables": doc{"host": doc{"default": "127.0.0.1"}, "port": doc{"default": ports[0], "enum": ports}},
	}}
}

var everyPort = []string{"9500", "9501", "9502", "9503", "9504"}

const healthPort = "9503"

func paths(answers map[string]doc) doc {
	return doc{
		"/distribute/v1/zones/{zone}": doc{"servers": proxyAt(), "get": heldQuestion(
			"how a zone stands", "zoneStatus", "zone", "zone's name", answers["proxy.zoneJSON"])},
		"/distribute/v1/changes/{id}": doc{"servers": proxyAt(), "get": heldQuestion(
			"how a change stands", "changeStatus", "id", "change's id, of the header Pdns-Distribute-Change", answers["proxy.changeJSON"])},
		"/api/v1/servers/{server_id}/zones/{zone_id}": doc{"servers": proxyAt(), "patch": write()},
		"/healthz": doc{"servers": roleAt(everyPort...), "get": doc{
			"summary": "the process answers", "operationId": "healthz",
			"responses": doc{"200": answer("always", doc{"type": "object", "properties": doc{"alive": doc{"type": "boolean"}}})},
		}},
		"/readyz": doc{"servers": roleAt(everyPort...), "get": doc{
			"summary": "whether the role is ready, and if not why", "operationId": "readyz",
			"responses": doc{
				"200": answer("it is ready", answers["observe.ReadinessDocument"]),
				"503": answer("it is not", answers["observe.ReadinessDocument"]),
			},
		}},
		"/metrics": doc{"servers": roleAt(everyPort...), "get": doc{
			"summary": "metrics for Prometheus", "operationId": "metrics",
			"responses": doc{"200": doc{"description": "all", "content": doc{"text/plain": doc{"schema": doc{"type": "string"}}}}},
		}},
		"/distribute/v1/status": doc{"servers": roleAt(healthPort), "get": doc{
			"summary": "the installation, as the health role sees it", "operationId": "status",
			"responses": doc{"200": answer("whatever the state is", answers["status.Document"])},
		}},
		"/": doc{"servers": roleAt(healthPort), "get": doc{
			"summary": "the same for people", "operationId": "page",
			"responses": doc{"200": doc{"description": "a page", "content": doc{"text/html": doc{"schema": doc{"type": "string"}}}}},
		}},
	}
}

func answer(when string, schema doc) doc {
	return doc{"description": when, "content": doc{"application/json": doc{"schema": schema}}}
}

func reference(kind, name string) doc { return doc{"$ref": "#/components/" + kind + "/" + name} }

// heldQuestion is one that the proxy answers itself, at once or when the change is served.
func heldQuestion(summary, id, parameter, what string, schema doc) doc {
	found := answer("how it stands", schema)
	found["headers"] = held()
	return doc{
		"summary": summary, "operationId": id, "security": []doc{{"key": []string{}}},
		"parameters": []doc{
			{"name": parameter, "in": "path", "required": true, "description": "the " + what, "schema": doc{"type": "string"}},
			reference("parameters", "Prefer"),
		},
		"responses": doc{
			"200":     found,
			"default": answer("an error: 401 and 403 as PowerDNS has them, 404 if there is no such thing", reference("schemas", "Error")),
		},
	}
}

// write is a change by PowerDNS's own API, of which only what the proxy adds is described.
func write() doc {
	headers := held()
	headers["Pdns-Distribute-Change"] = reference("headers", "Pdns-Distribute-Change")
	headers["Pdns-Distribute-Touch"] = reference("headers", "Pdns-Distribute-Touch")
	segment := func(name string) doc {
		return doc{"name": name, "in": "path", "required": true, "schema": doc{"type": "string"}}
	}
	return doc{
		"summary": "PowerDNS's own; other writes get the same headers", "operationId": "write",
		"security":    []doc{{"key": []string{}}},
		"parameters":  []doc{segment("server_id"), segment("zone_id"), reference("parameters", "Prefer")},
		"requestBody": doc{"content": doc{"application/json": doc{"schema": doc{"type": "object"}}}},
		"responses": doc{
			"204":     doc{"description": "PowerDNS has it", "headers": headers},
			"default": answer("an error of PowerDNS, or of the proxy", reference("schemas", "Error")),
		},
	}
}

// held are the headers of answers that may be held.
func held() doc {
	all := doc{}
	for _, name := range []string{"Pdns-Distribute-Status", "Pdns-Distribute-Served", "Pdns-Distribute-Missing", "Preference-Applied"} {
		all[name] = reference("headers", name)
	}
	return all
}

func headers() doc {
	text := func(about string) doc { return doc{"description": about, "schema": doc{"type": "string"}} }
	return doc{
		"Pdns-Distribute-Change": text("the id of the change"),
		"Pdns-Distribute-Touch":  text("pending: PowerDNS has the write, and its distribution has to wait for a broker"),
		"Pdns-Distribute-Status": doc{
			"description": "of an answer that was held", "schema": doc{"type": "string", "enum": []string{"INSYNC", "PENDING"}},
		},
		"Pdns-Distribute-Served":  text("how many secondaries serve it, of how many, such as 1/2"),
		"Pdns-Distribute-Missing": text("the secondaries that do not, if it is PENDING"),
		"Preference-Applied":      text("for how long at most the answer was held"),
	}
}

func parameters() doc {
	return doc{"Prefer": doc{
		"name": "Prefer", "in": "header", "schema": doc{"type": "string"}, "example": "wait=10",
		"description": "wait=SECONDS holds the answer until every active secondary serves the change (RFC 7240)",
	}}
}

func hook(schema doc) doc {
	return doc{
		"summary": "changes of alarms, to health.webhook", "operationId": "alarms",
		"requestBody": doc{"required": true, "content": doc{"application/json": doc{"schema": schema}}},
		"responses":   doc{"2XX": doc{"description": "taken; after all else it is posted again"}},
	}
}

// schema is the JSON Schema of an object. Fields may be added, so others are allowed.
func (o object) schema() doc {
	properties, required := doc{}, []string{}
	for _, m := range o.fields {
		s := m.of.schema()
		if m.about != "" {
			s["description"] = m.about
		}
		if properties[m.name] = s; !m.optional {
			required = append(required, m.name)
		}
	}
	s := doc{"type": "object", "properties": properties, "required": required}
	if o.about != "" {
		s["description"] = o.about
	}
	return s
}

// types are kinds by their words.
var types = map[string]doc{
	"text": {"type": "string"}, "boolean": {"type": "boolean"}, "number": {"type": "number"}, "integer": {"type": "integer"},
	"time": {"type": "string", "format": "date-time"}, "duration": {"type": "integer"}, "any": {},
}

func (k kind) schema() doc {
	s := doc{}
	switch k.word {
	case "object":
		s = reference("schemas", k.ref)
	case "list":
		s = doc{"type": "array", "items": k.of.schema()}
		if !k.null {
			s["type"] = []string{"array", "null"} // an empty one may be null
		}
	case "map":
		s = doc{"type": "object", "additionalProperties": k.of.schema()}
	default:
		for key, value := range types[k.word] {
			s[key] = value
		}
	}
	if k.null && k.word == "object" {
		return doc{"anyOf": []doc{s, {"type": "null"}}}
	}
	return s
}
