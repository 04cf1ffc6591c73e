package inventory

// Health is what one control-plane node sees of the cluster's quorum and API
// servers: facts, which package policy judges.
type Health struct {
	Node string `json:"node"`
	Etcd *Etcd  `json:"etcd,omitempty"` // nil: this node knows no etcd
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
	Message string `json:"message,omitempty"` // the component's own words where it is not
	// Unasked says that the component is there and nothing is known of its health: it
	// accepts no client certificate of this node, or does not answer such requests.
	Unasked bool `json:"unasked,omitempty"`
}

// Etcd is the cluster as one member tells it.
type Etcd struct {
	Members  []Member `json:"members"`
	LeaderID uint64   `json:"leaderID"`         // 0: no leader
	LocalID  uint64   `json:"localID"`          // the member of this node; 0: external etcd
	Alarms   []string `json:"alarms,omitempty"` // "NOSPACE on cp1"
	Error    string   `json:"error,omitempty"`  // the cluster could not be asked at all
}

// Member is one etcd member.
type Member struct {
	ID         uint64   `json:"id"`
	Name       string   `json:"name"` // empty: never started
	ClientURLs []string `json:"clientURLs,omitempty"`
	Learner    bool     `json:"learner,omitempty"`
	Healthy    bool     `json:"healthy"` // answered Status itself, without errors, and knows the leader
	Error      string   `json:"error,omitempty"`
	// AnsweredBy is the member that answers at this one's client URLs, where that is
	// another one. Nothing is known of this member then.
	AnsweredBy uint64 `json:"answeredBy,omitempty"`
	LeaderID   uint64 `json:"leaderID,omitempty"` // whom it follows; 0: nobody, or not known
	RaftTerm   uint64 `json:"raftTerm,omitempty"`
	RaftIndex  uint64 `json:"raftIndex,omitempty"`
	// RaftAppliedIndex is up to where its database has the log's entries.
	RaftAppliedIndex uint64 `json:"raftAppliedIndex,omitempty"`
	DBSize           int64  `json:"dbSizeBytes,omitempty"`
	DBQuota          int64  `json:"dbQuotaBytes,omitempty"` // 0: not known (etcd before 3.6 does not tell); negative: none
}
