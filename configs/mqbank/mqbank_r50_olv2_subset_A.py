"""MQBank on OpenLane-V2's subset A with the authors' SD maps, LaneSegNet's sizes and recipe.

The paper reports AP_ls 40.5 and AP_ped 45.7; its model was not released, so this is the definition in the plugin.
"""

_base_ = ["./lanesegnet_r50_8x1_24e_olv2_subset_A.py"]

sd_map = dict(modified=True)
model = dict(
    head=dict(
        decoder=dict(
            _delete_=True, type="MQBankDecoder", channels=256, point_range=(-51.2, -25.6, -2.3, 51.2, 25.6, 1.7),
            num_queries=200, num_layers=6, sampling_points=4, bank_size=(50, 100), max_anchors=150,
        ),
        double_last_refine=False,                  # no checkpoint asks for it
    ),
)
train_dataloader = dict(
    dataset=dict(
        sd_map=sd_map,
        transforms=[
            *_base_.load_pictures,
            dict(type="DropSDMap", prob=0.1),
            dict(type="JitterSDMap", sigma_m=1.0, sigma_deg=1.0),
        ],
    ),
)
val_dataloader = dict(dataset=dict(sd_map=sd_map))
test_dataloader = val_dataloader
