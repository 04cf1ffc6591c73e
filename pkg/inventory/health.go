package inventory

// Health holds the state of the cluster's etcd members and API servers as seen from one
// control-plane node. Package gate judges it.
type Health struct {
	Node string `json:"node"`
	Etcd *Etcd  `json:"etcd,omitempty"` // nil: this node uses no etcd
	// APIServer is the answer of this node's own API server on /readyz.
	APIServer *Probe `json:"apiServer,omitempty"`
	// Others are the API servers of other nodes, as this node reaches them.
	Others []PeerHealth `json:"others,omitempty"`
}

// Peer is an API server of another node.
type Peer struct {
	Node    string `json:"node"`
	Address string `json:"address"` // "10.0.0.12:6443"
}

// PeerHealth is the answer of another node's API server on /readyz.
type PeerHealth struct {
	Node string `json:"node"`
	Probe
}

// Probe is the outcome of one health check.
type Probe struct {
	Address string `json:"address"`
	Healthy bool   `json:"healthy"`
	Message string `json:"message,omitempty"` // the component's answer if it is unhealthy
	// Unasked means that the component runs and its health is unknown: it accepts no client
	// certificate of this node, or does not answer such requests.
	Unasked bool `json:"unasked,omitempty"`
}

// Etcd is the state of the etcd cluster as one node reads it.
type Etcd struct {
	Members  []Member `json:"members"`
	LeaderID uint64   `json:"leaderID"`         // 0: no leader
	LocalID  uint64   `json:"localID"`          // the member of this node; 0: external etcd
	Alarms   []string `json:"alarms,omitempty"` // "NOSPACE on cp1"
	Error    string   `json:"error,omitempty"`  // the cluster did not answer
}

// Member is one etcd member.
type Member struct {
	ID         uint64   `json:"id"`
	Name       string   `json:"name"` // empty: never started
	ClientURLs []string `json:"clientURLs,omitempty"`
	Learner    bool     `json:"learner,omitempty"`
	Healthy    bool     `json:"healthy"` // answered Status without errors, and has a leader
	Error      string   `json:"error,omitempty"`
	// AnsweredBy is the member that answers at this one's client URLs, if it is another one.
	// The state of this member is unknown then.
	AnsweredBy uint64 `json:"answeredBy,omitempty"`
	LeaderID   uint64 `json:"leaderID,omitempty"` // the leader that it reports; 0: none, or unknown
	RaftTerm   uint64 `json:"raftTerm,omitempty"`
	RaftIndex  uint64 `json:"raftIndex,omitempty"`
	// RaftAppliedIndex is up to where its database has the log's entries.
	RaftAppliedIndex uint64 `json:"raftAppliedIndex,omitempty"`
	DBSize           int64  `json:"dbSizeBytes,omitempty"`
	DBQuota          int64  `json:"dbQuotaBytes,omitempty"` // 0: unknown (etcd before 3.6 does not report it); negative: none
}
