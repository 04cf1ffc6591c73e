package dashboard

import (
	"net/http"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard/openapi"
)

// apiRoutes are the routes of both APIs.
func apiRoutes() []apiRoute { return slices.Concat(v3Routes(), ownRoutes()) }

// v3Routes are those of Rancher's API.
func v3Routes() []apiRoute {
	return []apiRoute{
		getRoute(v3Root, "Address of the schemas", (*Server).showV3Root),
		getRoute(v3Root+"/schemas", "Types of this API", (*Server).listV3Schemas),
		getRoute(v3Root+"/clusters", "All clusters", (*Server).listV3Clusters).withQuery(
			openapi.Parameter{Name: "id", Text: "the id of the cluster"},
			openapi.Parameter{Name: "name", Text: "the name of the context"},
			openapi.Parameter{Name: "state", Text: "the state of the cluster"}),
		getRoute(v3Root+"/clusters/{id}", "One cluster", (*Server).showV3Cluster),
		postRoute(v3Root+"/clusters/{id}", "Plan a rotation, and start it: the answer comes once it has begun", http.StatusOK, (*Server).runV3Action).withQuery(
			openapi.Parameter{Name: "action", Text: "the action", Required: true, Values: []string{v3Action}}).startingWith(`{"services": "etcd", "caCertificates": false}`),
	}
}

// ownRoutes are those of our own API.
func ownRoutes() []apiRoute {
	const cluster = apiRoot + "/clusters/{id}"
	return []apiRoute{
		rawRoute(apiRoot+"/openapi.json", "This document", contentJSON, (*Server).showOpenAPI),
		getRoute(apiRoot+"/clusters", "All clusters", (*Server).listClusters),
		getRoute(cluster, "One cluster", (*Server).readCluster),
		getRoute(cluster+"/certificates", "Certificates, as check prints them: of the agents' reports, or of the last scan", (*Server).readCertificates),
		getRoute(cluster+"/scan", "The scan that is running, or the last one", (*Server).readScan),
		postRoute(cluster+"/scan", "Scan the nodes: starts a read-only pod on each", http.StatusAccepted, (*Server).startAPIScan).needing(RightScan),
		getRoute(cluster+"/history", "The rotations in the journals of the nodes, as they were read last", (*Server).readAPIHistory),
		postRoute(cluster+"/history", "Read the journals: starts a read-only pod on each node", http.StatusAccepted, (*Server).startAPIHistory).needing(RightScan),
		getRoute(cluster+"/history/{journal}", "One rotation with its records, as they were read last", (*Server).readAPIRecords),
		postRoute(cluster+"/history/{journal}", "Read the records of one rotation: starts a read-only pod on each node", http.StatusAccepted, (*Server).startAPIRecords).needing(RightScan),
		getRoute(cluster+"/marks", "The certificates that are marked as compromised", (*Server).listAPIMarks),
		postRoute(cluster+"/marks", "Mark certificates as compromised: the watcher replaces them", http.StatusCreated, (*Server).createAPIMark).startingWith(`{"service": "admin", "nodes": ["NODE"], "reason": "REASON"}`).needing(RightMark),
		postRoute(cluster+"/marks/{mark}/delete", "Delete a mark", http.StatusOK, (*Server).deleteAPIMark).needing(RightDeleteMark),
		postRoute(cluster+"/plans", "Plan a rotation, which changes nothing: the answer does not wait for the plan", http.StatusAccepted, (*Server).createAPIPlan).withExample(`{"services": ["etcd"]}`),
		rawRoute(cluster+"/events", "The newest events of the watcher, and then others as they come (server-sent events)", contentEvents, (*Server).streamAPIWatcherEvents).withQuery(
			openapi.Parameter{Name: "after", Text: "the id of an event: those after it are sent. The header Last-Event-ID has precedence"}),
		getRoute(cluster+"/plans/{plan}", "A plan", (*Server).readPlan),
		postRoute(cluster+"/plans/{plan}/cancel", "Cancel the making of a plan", http.StatusOK, (*Server).cancelAPIPlan),
		getRoute(cluster+"/rotations", "The rotations of this dashboard, newest first", (*Server).listAPIRotations),
		postRoute(cluster+"/rotations", "Start a plan, or plan a choice and start it: the answer comes once the rotation has begun", http.StatusCreated, (*Server).startAPIRotation).startingWith(`{"services": ["etcd"]}`),
		getRoute(cluster+"/rotations/{rotation}", "A rotation: its progress, and at the end its report", (*Server).readAPIRotation),
		postRoute(cluster+"/rotations/{rotation}/stop", "Stop a rotation after the node in progress, as Ctrl-C does", http.StatusOK, (*Server).stopAPIRotation),
		rawRoute(cluster+"/rotations/{rotation}/events", "The events of a rotation as they happen (server-sent events)", contentEvents, (*Server).streamAPIEvents).withQuery(
			openapi.Parameter{Name: "after", Text: "the number of an event: those after it are sent. The header Last-Event-ID has precedence"}),
	}
}
