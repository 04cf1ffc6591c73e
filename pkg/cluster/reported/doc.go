// Package reported makes the list of certificates and the plan of a rotation of the agents' reports,
// where no node is scanned. It sends no requests.
package reported
